"""Hashes of text: XXH64, MurmurHash3, MinHash signatures, band keys."""
