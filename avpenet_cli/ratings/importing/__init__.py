"""Ratings from BORIS, ELAN, REDCap and CSV files as the table that `avpenet report --reference` reads."""
