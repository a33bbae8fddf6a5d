"""From probabilities to a score and a submission."""
