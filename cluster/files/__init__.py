"""Formats of the files of a run folder: sealed, records, slices, append-only logs, packed rows, compressed, digests."""
