"""Kernels over the bytes of texts: words, tokens, folded forms, n-grams, rules of thumb."""
