"""Run a recipe in a run folder, and show how far it is."""
