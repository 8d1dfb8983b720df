"""Who survives: total order, connected components, choice among similar documents."""
