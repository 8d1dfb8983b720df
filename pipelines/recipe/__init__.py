"""The recipe: one YAML file, checked key by key, and the run that follows from it."""
