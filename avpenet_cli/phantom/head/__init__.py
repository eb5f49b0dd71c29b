"""Head meshes: built in, or loaded from files."""
