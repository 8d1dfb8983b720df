"""`winnow plan`: what a run would do, take and give, before it runs.

Doors: `plan.plan(recipe, run_dir)` returns a `tree.Plan`, whose schema is `plan.schema.json`; `view.render` shows it.
"""
