"""The kinds of cluster: workers on this machine, on a Slurm queue, on Ray, or of a running Dask cluster."""
