"""What the user types: `winnow COMMAND`. Parses, calls one function, prints; decides nothing.

Doors: `main.main(arguments)` runs the command line, `main.entry` is the script. `app.py` holds what commands share.
"""
