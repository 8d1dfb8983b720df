"""What the user types: `winnow COMMAND`. Parses, calls one function, prints; decides nothing."""
