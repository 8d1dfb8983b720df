"""The report of a run: report.json with every number, report.html that shows them."""
