"""The feature cache: what a base gives for pictures, computed once and stored."""
