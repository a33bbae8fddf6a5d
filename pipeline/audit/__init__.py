"""What may be wrong with a set of pictures: duplicates, scenes, leakage, drift and label errors."""
