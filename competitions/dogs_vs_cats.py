"""Dogs vs Cats Redux: the probability that the picture shows a dog, scored by log loss.

    invoke run --comp dogs-vs-cats

The competition of the ladder: the strategies of transfer learning were first taught on 2,000 of its pictures.

Measured on 3,000 pictures of Kaggle's 25,000, on 2 cores without a GPU (more in docs/measured.md):

    the recipe (EfficientNet-Lite2 at its own 260 px)    log loss 0.0250 ± 0.0052, 99.1 %
    --base mobilenet_v2 --size 224                       log loss 0.0395 ± 0.0081, 98.7 %, 22 s
    --size own --base efficientnet_lite2
        --base inception_v3:299@mixed8=FILE              log loss 0.0169 ± 0.0066, 99.4 %
    invoke ensemble of eight runs without Lite2          0.0235 ± 0.0126
"""

from dataclasses import replace

from pipeline.config import Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="dogs-vs-cats",
    slug="dogs-vs-cats-redux-kernels-edition",
    labels=Labels(folder="train", suffix=".jpg", pattern=r"(?P<label>cat|dog)\.\d+\.jpg", positive="dog"),
    submission=Submission(image="id", layout="probability", label="label"),
    metric="binary_log_loss",
    recipe=Recipe(bases=("efficientnet_lite2",), head="linear", folds=5, views=("plain", "flip")),
)

RECIPES = {"gpu": replace(COMPETITION.recipe, bases=("convnext_xlarge",))}
"""For a GPU, with larger networks whose weights Keras downloads. Not measured."""
