"""Learnwares at work: searched for by pictures, added to a store, reused."""
