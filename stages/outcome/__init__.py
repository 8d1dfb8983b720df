"""The outcome of every document: ledger, lineage, copies in the mix.

Doors: `lineage.trace`, then `ledger.tally` and `ledger.write_ledger`; `mixing.portions` for the share of each dataset.
"""
