"""Photographs of real, consenting people altered to known action units."""
