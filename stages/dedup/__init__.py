"""What all deduplication stages share, and the near-duplicate search.

`dedup_stage`: parameters, candidates, routing of verdicts to bundles. `promotion`: rounds of scoring where survivors
depend on costly filters (`orphans: promote`). `near`: the search for near duplicates.
"""
