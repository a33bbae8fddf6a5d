"""Getting a competition's data: Kaggle's client, archives, and the marker that says the data is whole."""
