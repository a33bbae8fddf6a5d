"""The stages of a run in their order, from the data to the submission."""
