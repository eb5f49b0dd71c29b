"""Drift of scores, their evidence and their agreement with ratings, over weeks."""
