"""Calibration of scores to a site's own ratings, with intervals that hold for new patients."""
