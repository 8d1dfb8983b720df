"""fastText inference without the fasttext package: its file format, its features, its sums, compiled by numba."""
