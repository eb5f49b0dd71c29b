"""Agreement statistics on plain arrays."""
