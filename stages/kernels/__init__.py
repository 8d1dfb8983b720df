"""Array kernels: hashing, shingles, signatures, bands, pair similarity, components."""
