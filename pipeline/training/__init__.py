"""One file a rung, and what the rungs share."""
