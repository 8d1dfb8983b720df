"""How similar two documents are, by shingles or by vectors, and how many bands find them."""
