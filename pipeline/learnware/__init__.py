"""Learnwares: trained models that others find by their own pictures, published, searched for and reused."""
