"""Dog Breed Identification: 120 breeds, scored by multi-class log loss.

    invoke run --comp dog-breed            every fold, submission and report
    invoke run --comp dog-breed --debug    64 pictures, the whole way, in seconds

The breeds are part of ImageNet, so ImageNet bases have seen these very pictures: validation flatters them.
"""

from pipeline.config import Competition, Labels, Recipe, Submission

COMPETITION = Competition(
    name="dog-breed",
    slug="dog-breed-identification",
    labels=Labels(csv="labels.csv", image="id", label="breed", folder="train", suffix=".jpg"),
    submission=Submission(image="id", layout="one column per class"),
    metric="log_loss",
    recipe=Recipe(bases=("xception", "inception_v3"), size=299, head="linear", folds=5, views=("plain", "flip")),
)
