"""Run a recipe in a run folder, and show how far it is.

Doors: `runner.run(recipe, run_dir)` returns a `RunResult`; `progress.choose_display` says how it is shown,
`funnel.funnel_table` shows what it came to.
"""
