"""Pictures and labels: tables, decoding, the pixel cache, views and folds. No TensorFlow."""
