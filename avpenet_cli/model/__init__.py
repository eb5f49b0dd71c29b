"""The networks. Importing this package imports no torch; its modules `registry` and `architecture` do not either."""
