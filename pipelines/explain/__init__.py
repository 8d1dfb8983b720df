"""`winnow explain`: what became of a document, and why.

Doors: `explain.explain(run_dir, doc_id=…)` returns an `Explanation` (`tree.py`),
`view.render_explanation` shows it.
"""
