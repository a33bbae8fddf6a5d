"""Dog Breed Identification: 120 breeds, scored by multi-class log loss.

    invoke run --comp dog-breed            every fold, submission and report
    invoke run --comp dog-breed --debug    64 pictures, the whole way, in seconds

The breeds are part of ImageNet, so ImageNet bases have seen these very pictures: validation flatters them.

Measured on 4,800 pictures of Kaggle's 10,222, 180 px wide, on 2 cores without a GPU (more in docs/measured.md):

    the recipe (EfficientNet-Lite2 at 260 and at 300 px)      log loss 0.453 ± 0.033, 85.3 %
    --base efficientnet_lite2                                 log loss 0.464 ± 0.030, 84.6 %
    --base mobilenet_v2 --size 224                            log loss 0.593 ± 0.018, 81.0 %, 32 s
    and inception_v3@mixed7+second=FILE, --head lda           0.545 ± 0.020, 82.5 %
    invoke ensemble of eleven runs                            0.423 ± 0.027, 86.1 %
"""

from dataclasses import replace

from pipeline.config import Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="dog-breed",
    slug="dog-breed-identification",
    labels=Labels(csv="labels.csv", image="id", label="breed", folder="train", suffix=".jpg"),
    submission=Submission(image="id", layout="one column per class"),
    metric="log_loss",
    recipe=Recipe(bases=("efficientnet_lite2", "efficientnet_lite2:300"), folds=5, views=("plain", "flip")),
)

RECIPES = {"gpu": replace(COMPETITION.recipe, bases=("convnext_xlarge", "efficientnet_v2_l"))}
"""For a GPU, with larger networks whose weights Keras downloads. Not measured."""
