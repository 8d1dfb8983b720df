"""Dispatch of kernels: host or GPU version, and the memory its arrays are in."""
