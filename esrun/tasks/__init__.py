"""Tasks: one kind a file. A task evaluates a slice of the population; it knows nothing of
strategies or devices."""
