"""Head meshes: the built-in one, and loaders for better ones."""
