"""Frames -> faces -> one patient's track -> aligned crops. Algorithm 2 of the article."""
