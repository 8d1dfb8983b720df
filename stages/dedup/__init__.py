"""What all deduplication stages share, and the near-duplicate search."""
