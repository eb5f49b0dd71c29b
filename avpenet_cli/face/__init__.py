"""Face detection, patient tracking and face alignment (Algorithm 2 of the paper)."""
