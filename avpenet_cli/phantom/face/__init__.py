"""Render simulated faces: skin, covers, light."""
