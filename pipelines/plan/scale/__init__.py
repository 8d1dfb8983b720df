"""The part of a plan that tells whether a run of this size can be: requests, hops, bounds, walls, and a rehearsal.

Doors: `section.fill` adds it to a plan, `view.tables` and `view.lines` show it; `prices.py` holds prices and limits.
"""
