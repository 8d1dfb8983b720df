"""Choice of survivors: total order, connected components, greedy choice among similar documents."""
