"""Pictures and labels: tables, decoding, the pixel cache, views and folds. NumPy only, no TensorFlow."""
