"""Synthesise simulated voices, and splice recorded ones."""
