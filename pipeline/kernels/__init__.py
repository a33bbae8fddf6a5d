"""The same run on a Kaggle GPU: bundled into one script, pushed, followed and brought back."""
