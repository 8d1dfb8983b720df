"""Recipe, plan, run, report and the command line."""
