"""How similar two documents are: MinHash signatures and their bands, Jaccard of shingles, cosines of vectors."""
