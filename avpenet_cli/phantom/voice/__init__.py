"""Simulated voices."""
