"""Runs combined and corrected: members, methods, calibration and scenes, each judged in a nest of folds."""
