"""`winnow plan`: what a run would do, take and give, before it runs."""
