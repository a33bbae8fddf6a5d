"""Metrics, intervals, nested cross-validation and the submission."""
