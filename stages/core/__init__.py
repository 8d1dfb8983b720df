"""The nouns: shards, bundles and their manifest, stages, facts and edits, and what a task knows of its run.

Start at `shard` (what lies where), `stage` (what a stage is), `run` (`Run`, and `StageRun`, which the tasks of a stage
are given) and `view` (one bundle's rows through the sidecars). Nothing is re-exported here: naming a shard costs no
import of the rest.
"""
