"""The same run on a Kaggle GPU: bundled into one script, pushed, followed, and brought home as if computed here."""
