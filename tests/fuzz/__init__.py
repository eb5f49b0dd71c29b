"""Damaged and hostile files for everything that the program reads: `python -m tests.fuzz --help`."""
