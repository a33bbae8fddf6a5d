"""Learnwares: trained models that are found by one's own pictures, and what is needed to find and reuse them."""
