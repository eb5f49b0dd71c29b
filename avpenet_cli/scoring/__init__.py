"""Recordings -> segments -> batches -> scores. The only package that combines networks, weights and recordings."""
