"""Classifiers on cached features: logistic regression, LDA, ridge regression and an MLP."""
