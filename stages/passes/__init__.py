"""Passes over a run: freeze the inputs, annotate in one read, run deferred stages after deduplication.

Doors: `freeze.freeze`, `lost_shards.annotate_all`, `judge_later.judge_living`; `annotate.read_rows` to read some rows
again.
"""
