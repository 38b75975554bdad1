"""Public collections, cloned -> one set with a severity level for each film: see docs/data.md for the rules."""
