"""`winnow audit`: how right a deduplication was, by true similarity on the texts."""
