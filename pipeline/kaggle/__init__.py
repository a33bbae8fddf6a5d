"""Kaggle's API: download, archives, submissions, leaderboards, datasets; each call with a timeout and one error."""
