"""From a head mesh to pixels: skin, covers, light, renderer."""
