"""Commands that have no folder of their own: one file, one command, one function that does it.

Doors: `check.check_recipe`, `clean.clean_run`, `dedup.dedup`, `doctor.examine`, `facts.export_facts`,
`minhash.minhash`, `schema.schema_of`, `score.score_files`, `status.status_of_run`, and the jobs on Ray of
`submit`.
"""
