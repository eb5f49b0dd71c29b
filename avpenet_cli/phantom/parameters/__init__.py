"""Parameters of the simulation: TOML files with units and sources, and the dataclasses that they are read into."""
