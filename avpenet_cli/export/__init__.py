"""Scores in the formats of clinical and research data systems."""
