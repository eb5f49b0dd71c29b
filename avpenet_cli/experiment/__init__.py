"""Systems trained and evaluated on the same splits and seeds, and what their predictions show."""
