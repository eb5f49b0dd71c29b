"""The networks that the paper compares with its own. Importing this package imports no torch."""
