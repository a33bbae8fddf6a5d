"""Run folders: created, listed, loaded and compared."""
