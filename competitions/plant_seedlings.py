"""Plant Seedlings Classification: 12 species; "mean F-score" is micro-averaged F1, which equals accuracy.

    invoke run --comp plant-seedlings                                    fine-tunes: it says how many minutes at most
    invoke run --comp plant-seedlings --strategy features --size own     a head on frozen features, in a few minutes
    invoke finish --comp plant-seedlings --scenes

The same plant was photographed at several ages and no plant number is given, so random folds flatter. The original
picture size predicts the species: a leak that the pipeline does not use, since every picture is resized to one square.

Leaves from above are far from ImageNet: fine-tuning all of a base brings more than any head. In so few epochs the eight
symmetries alone teach more than stronger augmentation, and lower blocks must learn, too. Pictures of one scene, which
invoke audit finds, may agree on a class (--scenes).

Measured on 3,798 pictures of Kaggle's 4,750, on 2 cores without a GPU (more in docs/measured.md), on random folds and
on folds that keep scenes together:

    --strategy features --base mobilenet_v2 --size 224                 0.897 ± 0.009, 102 s
    the recipe (EfficientNet-Lite2), fold 0 alone                      0.947
    --base mobilenet_v2=imagenet:224 --size 160                        0.9589 ± 0.0014, grouped 0.9523 ± 0.0042
    and invoke finish --scenes                                         0.9721 ± 0.0031, grouped 0.9639 ± 0.0012

The recipe takes a base whose weights come with the requirements. MobileNetV2's, which Keras downloads, were better on
that fold (0.9566); EfficientNet-Lite0 was worse (0.9434).
"""

from dataclasses import replace

from pipeline.config import SYMMETRY_VIEWS, Competition, Labels, Recipe, Submission, Training

COMPETITION = Competition(
    name="plant-seedlings",
    slug="plant-seedlings-classification",
    labels=Labels(folder="train"),
    submission=Submission(image="file", layout="class name", label="species"),
    metric="micro_f1",
    recipe=Recipe(
        strategy="finetune",
        bases=("efficientnet_lite2",),
        size=160,
        folds=5,
        views=SYMMETRY_VIEWS,
        train_views=SYMMETRY_VIEWS,
        training=Training(
            epochs=12,
            patience=10,
            learning_rate=7e-4,
            label_smoothing=0.1,
            symmetries=True,
            warp=False,
            unfreeze="all",
        ),
    ),
)

RECIPES = {"gpu": replace(COMPETITION.recipe, bases=("efficientnet_v2_s",), size=384)}
"""For a GPU, with larger networks whose weights Keras downloads. Not measured."""
