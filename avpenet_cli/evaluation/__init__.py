"""Weights evaluated against the ratings of a dataset."""
