"""What changed between two runs, document by document, from their ledgers.

Doors: diff, view (terminal), page (HTML), tree (types of `winnow diff --json`).
"""
