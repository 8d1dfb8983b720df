"""Text in, scores out; no Dask."""
