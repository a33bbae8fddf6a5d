"""Plant Seedlings Classification: 12 species; "mean F-score" is micro-averaged F1, which equals accuracy.

    invoke run --comp plant-seedlings
    invoke run --comp plant-seedlings --rung finetune --base mobilenet_v2=imagenet:224 --size 160
    invoke finish --comp plant-seedlings --scenes

The same plant was photographed at several ages and no plant number is given, so random folds flatter. The original
picture size predicts the species: a leak that the pipeline does not use, since every picture is resized to one square.

Leaves from above are far from ImageNet: fine-tuning all of a base brings more than any head. In so few epochs the eight
symmetries alone teach more than stronger augmentation, and lower blocks must learn, too. Pictures of one scene, which
invoke audit finds, may agree on a class (--scenes).

Measured: see docs/measured.md.
"""

from pipeline.config import SYMMETRIES, Competition, Labels, Recipe, Submission
from pipeline.regime import Training

COMPETITION = Competition(
    name="plant-seedlings",
    slug="plant-seedlings-classification",
    labels=Labels(folder="train"),
    submission=Submission(image="file", layout="class name", label="species"),
    metric="micro_f1",
    recipe=Recipe(
        bases=("resnet50", "xception"),
        folds=5,
        views=SYMMETRIES,
        train_views=SYMMETRIES,
        training=Training(
            epochs=12,
            patience=10,
            rate=7e-4,
            label_smoothing=0.1,
            symmetries=True,
            warp=False,
            unfreeze="all",
        ),
    ),
)
