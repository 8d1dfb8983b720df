"""Near duplicates: buckets, components, verified pairs, survivors."""
