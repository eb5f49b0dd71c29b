"""Recordings -> segments -> batches -> scores. The only room that joins networks, weights and recordings."""
