"""`winnow explain`: what became of a document, and why."""
