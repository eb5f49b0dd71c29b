"""Commissioning: whether this installation still gives the scores it gave before."""
