"""Teachers' knowledge put into one small model."""
