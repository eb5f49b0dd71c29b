"""Measurements of speed and of what speed costs in exactness; the results stand in docs/explanation/benchmarks.md."""
