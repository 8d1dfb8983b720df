"""Passes over a whole run: freeze the inputs, annotate in one read, judge later what deduplication leaves.

Doors: `freeze.freeze`, `lost_shards.annotate_all`, `judge_later.judge_living`; `annotate.read_rows` to read some rows
again.
"""
