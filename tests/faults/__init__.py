"""Trials of `avpenet score` with faults: disks, clocks, signals and power that fail at a random moment.

`python -m tests.faults` runs them, see `docs/explanation/robustness.md`.
"""
