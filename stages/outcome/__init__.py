"""What became of every document: ledger, lineage, copies in the mix.

Doors: `lineage.trace`, then `ledger.tally` and `ledger.write_ledger`; `mixing.portions` for how much of which dataset.
"""
