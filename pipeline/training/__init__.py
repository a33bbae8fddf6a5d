"""Strategies, heads, networks and the training of each fold."""
