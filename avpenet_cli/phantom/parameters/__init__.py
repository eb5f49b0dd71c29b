"""The simulation's parameters: TOML files with units and sources, and the dataclasses they load into."""
