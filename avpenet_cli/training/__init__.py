"""Training: a segment store -> weights."""
