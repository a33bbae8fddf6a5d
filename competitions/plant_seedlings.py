"""Plant Seedlings Classification: 12 species; "mean F-score" is micro-averaged F1, which equals accuracy.

    invoke run --comp plant-seedlings

The same plant was photographed at several ages and no plant number is given, so random folds flatter. The original
picture size predicts the species: a leak that the pipeline does not use, since every picture is resized to one square.
"""

from pipeline.config import SYMMETRIES, Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="plant-seedlings",
    slug="plant-seedlings-classification",
    labels=Labels(folder="train"),
    submission=Submission(image="file", layout="class name", label="species"),
    metric="micro_f1",
    recipe=Recipe(bases=("resnet50", "xception"), folds=5, views=SYMMETRIES, train_views=SYMMETRIES),
)
