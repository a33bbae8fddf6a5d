"""What may be wrong with a set of pictures: one question a file. Numbers only; report/ puts them into words."""
