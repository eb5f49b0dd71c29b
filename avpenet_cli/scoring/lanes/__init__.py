"""How a run scores its recordings: one at a time in its own process, or several in worker processes or in threads."""
