"""Invasive Species Monitoring: is there hydrangea in the photograph? Scored by the area under the ROC curve.

    invoke run --comp invasive-species

The bundle holds archives inside an archive, and train/1.jpg and test/1.jpg are different pictures.
"""

from pipeline.config import SYMMETRIES, Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="invasive-species",
    slug="invasive-species-monitoring",
    labels=Labels(csv="train_labels.csv", image="name", label="invasive", folder="train", suffix=".jpg", positive="1"),
    submission=Submission(image="name", layout="probability", label="invasive"),
    metric="auc",
    recipe=Recipe(bases=("inception_v3", "resnet50"), folds=5, views=SYMMETRIES, train_views=SYMMETRIES),
)
