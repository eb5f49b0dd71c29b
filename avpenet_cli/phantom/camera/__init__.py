"""Cameras of wards: what light, lens, sensor and compression make of a frame, rendered or a photograph."""
