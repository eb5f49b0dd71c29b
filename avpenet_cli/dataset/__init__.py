"""The segment store: recordings and ratings prepared once, read at random during training."""
