"""Stages that no recipe names: every run has them where they are needed."""
