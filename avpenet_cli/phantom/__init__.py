"""Phantoms: synthetic patients with a known pain trajectory, for commissioning, teaching and demonstration weights.

They are not patients, and nothing learnt from them is clinical evidence.
"""
