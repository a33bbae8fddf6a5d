"""Pictures and labels: tables, decoding, the pixel store, views and splits. NumPy only, no TensorFlow."""
