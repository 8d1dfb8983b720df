"""Reading: files found, their formats and columns, and batches of documents out of them."""
