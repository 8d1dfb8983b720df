"""Commands that have no folder of their own: one file, one command."""
