"""Similarity of documents: MinHash signatures and their bands, Jaccard of shingles, cosines of vectors."""
