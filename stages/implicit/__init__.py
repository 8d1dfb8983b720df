"""Stages that no recipe names: every run has them where they are needed.

`read` comes first in every run, `count_tokens` where the mix has a tokenizer, `rewrite` last where a stage rewrites.
"""
