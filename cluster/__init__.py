"""Where work runs; knows nothing of documents."""
