"""Commissioning: check whether this installation still gives the scores that it gave before."""
