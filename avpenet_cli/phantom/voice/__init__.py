"""Synthesise simulated voices."""
