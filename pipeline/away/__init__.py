"""Kaggle as a place: runs sent there and brought home, weights uploaded, predictions submitted."""
