"""Phantoms: synthetic patients with a known course of pain, for commissioning, teaching and demonstration weights.

They are no patients, and nothing learnt from them is clinical.
"""
