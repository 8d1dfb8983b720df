"""What all deduplication stages share, and the near-duplicate search.

`dedup_stage` holds parameters, candidates and the way back of verdicts; `promotion` the questions to costly filters
(`orphans: promote`); `near` the search for near duplicates.
"""
