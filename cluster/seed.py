"""The seed of everything random that is given none: of recipe, stages and commands alike."""

DEFAULT_SEED = 42
