"""One command compares winnow with its peers on the same files: `python -m benchmarks`."""
