"""Kernels for GPUs: the lines that only a GPU runs, and array code for any namespace."""
