"""Tries to break what the pipeline reads and does. See __main__."""
