"""The report of a run: report.json with every number, report.html that shows them.

Doors: `report.write_report(run_dir)`; `report.build_report(folder)` returns the tree whose types are in
`tree.py` and whose schema is in `report.schema.json`.
"""
