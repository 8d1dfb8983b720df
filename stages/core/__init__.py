"""The nouns: shard, bundle, manifest, stage, facts, decisions, edits, and the run as tasks see it.

Start at `shard` (what lies where), `stage` (what a stage is), `run` (`Run`, and `StageRun`, which the tasks of a stage
are given) and `view` (one bundle's rows through the sidecars). Nothing is re-exported here: naming a shard costs no
import of the rest.
"""
