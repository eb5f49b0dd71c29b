"""Simulated rooms, equipment and microphones."""
