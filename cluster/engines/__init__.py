"""How tasks are run: in this thread, on threads of this process, or on a Dask cluster."""
