"""The segment store: recordings and ratings, prepared once for training."""
