"""Recipe, plan, run, report and the command line. Each folder imports only what stands below it here:

cli         what the user types
commands    what one command does that has no folder of its own; plan: what a run would do; demo: data to try it on
run         one run, from inputs to mix, ledger and report
audit, explain    questions about a finished run
report, mix       what a run leaves behind for people and for training
runfolder   a finished run folder, for readers; run_state: what a folder remembers of how it was made
recipe      what the user wrote, and what a run is made of
artefacts, shown_text    types of the files in a run folder; text made fit to be shown
"""
