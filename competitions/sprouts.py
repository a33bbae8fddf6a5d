"""Sprouts: seedlings of twelve made-up species, drawn by this repository; scored by accuracy.

    invoke run --comp sprouts            offline, in about two minutes, the lesson at its end

1,200 training and 600 test pictures in Kaggle's shape. The species differ by shape, never by colour or size.
"""

from pipeline.config import Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="sprouts",
    synthetic="sprouts",
    labels=Labels(csv="labels.csv", image="id", label="species", folder="train", suffix=".jpg"),
    submission=Submission(image="id", layout="class name", label="species"),
    metric="accuracy",
    recipe=Recipe(bases=("petite",), folds=5, views=("plain", "flip"), train_views=("plain", "flip")),
)
