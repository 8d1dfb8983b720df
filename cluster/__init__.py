"""Runs tasks on workers, on this machine or a cluster, and keeps their files; knows nothing of documents.

Other packages use `start.start` (an engine from `options.ClusterOptions`), `engines` (the engine protocol), `exchange`
(shuffle), `storage` (atomic files), `device` (CPU or GPU) and `errors`. `kinds` holds the kinds of cluster; only
`kinds.slurm.batch_script` is called from outside.
"""
