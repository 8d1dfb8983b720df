"""Hashes of text: XXH64 and MurmurHash3, the bits of other implementations."""
