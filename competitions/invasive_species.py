"""Invasive Species Monitoring: is there hydrangea in the photograph? Scored by the area under the ROC curve.

    invoke run --comp invasive-species

The bundle holds archives inside an archive, and train/1.jpg and test/1.jpg are different pictures.

Measured on 1,301 pictures of a stand-in (dandelions among other flowers), on 2 cores without a GPU (more in
docs/measured.md):

    the recipe (EfficientNet-Lite0 and Lite2, each at its own size)    AUC 0.9918 ± 0.0014
    --base mobilenet_v2 --size 224                                     AUC 0.9886 ± 0.0023, 40 s
    and inception_v3@mixed7+second=FILE, --head lda                    AUC 0.9934 ± 0.0017
"""

from dataclasses import replace

from pipeline.config import SYMMETRY_VIEWS, Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="invasive-species",
    slug="invasive-species-monitoring",
    labels=Labels(csv="train_labels.csv", image="name", label="invasive", folder="train", suffix=".jpg", positive="1"),
    submission=Submission(image="name", layout="probability", label="invasive"),
    metric="auc",
    recipe=Recipe(
        bases=("efficientnet_lite0", "efficientnet_lite2"), folds=5, views=SYMMETRY_VIEWS, train_views=SYMMETRY_VIEWS
    ),
)

RECIPES = {"gpu": replace(COMPETITION.recipe, bases=("convnext_xlarge", "efficientnet_v2_l"))}
"""For a GPU, with larger networks whose weights Keras downloads. Not measured."""
