"""Persons from MakeHuman's meshes with photographic skin, hair, eyes and teeth."""
