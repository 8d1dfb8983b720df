"""The mix: drawn, written once, with its manifest and dataset card."""
