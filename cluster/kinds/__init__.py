"""The kinds of cluster: workers on this machine, as Slurm jobs, as Ray actors, or of a running Dask cluster.

Doors: `cluster.start.start` returns an engine on any of them; `slurm.batch_script` returns a script for a whole run.
"""
