"""What became of every document: ledger, lineage, copies in the mix."""
