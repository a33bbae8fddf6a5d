"""Experiments made of runs: each answers one question about a competition."""
