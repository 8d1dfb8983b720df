"""`winnow audit`: how right the deduplication of a finished run was.

Doors: `audit.audit(run_dir)` returns an `Audit` (`tree.py`), `view.render_audit` shows it;
`other_threshold.compare_thresholds` tells what another threshold would keep.
"""
