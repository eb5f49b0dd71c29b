"""Recordings and ratings -> weights of one's own: the segment store, and what learns from it."""
