"""A run on features that also learns from confident test predictions; written only if it helps on held-out pictures."""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline import flow, results, runs
from pipeline.config import Competition, Recipe
from pipeline.errors import require
from pipeline.features.extract import Extractor
from pipeline.files import sha256_of_json
from pipeline.models.scratch import networks_of
from pipeline.options import Options
from pipeline.predict.gains import difference_over_folds
from pipeline.predict.held import Held, Part
from pipeline.preparation import Data, prepare, stage
from pipeline.report.steps import Step, table, total
from pipeline.training import assemble, features
from pipeline.training.pseudo import Material, Rule, Taught, Teacher

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Heads before and after, and what they say.

    Args:
        taught: one a fold.
        before: as `features.train` gives it, of the heads before.
        after: of the heads after.
        strength: of the L2, the one that the run without pseudo-labels chose.
    """

    taught: list[Taught]
    before: features.Trained
    after: features.Trained
    strength: float


def pseudo(competition: Competition, rule: Rule, options: Options) -> Path | None:
    """Trains with pseudo-labels beside training without. Returns the run's folder; None where it does not help.

    Args:
        competition: its recipe's rung is `features`, its head linear.
        rule: which test pictures are learned from.
        options: from the command line.
    """
    recipe, started = competition.recipe, time.perf_counter()
    for name, value, wanted in (("rung", recipe.rung, "features"), ("head", recipe.head, "linear")):
        require(value == wanted, f"Pseudo-labels need the {name} {wanted}.", expected=wanted, received=value)
    require(recipe.folds > 2, "Pseudo-labels need three folds.", expected="folds=3 or more", received=recipe.folds)
    assembly = assemble.Assembly()
    try:
        data = prepare(competition, networks_of(recipe), options)
        competition = data.competition
        recipe = competition.recipe
        bases = networks_of(recipe)
        assembly.begin(bases)
        require(data.test_readable.any(), "There are no test pictures to learn from.", expected="some", received=0)
        extractors = [Extractor(base, data.files, wanted=options.engine) for base in bases]
        with stage("features") as said:
            views = tuple(dict.fromkeys((*recipe.training_views, *recipe.views)))
            train = flow.extract(extractors, list(data.pictures.train["sha256"]), views, said)
            test = flow.extract(extractors, list(data.pictures.test["sha256"][data.test_readable]), views, said)
        lesson = learned(recipe, rule, data, train, test)
        if not told(competition, data, lesson, rule):
            return None
        return written(competition, options, data, lesson, rule, (assembly, extractors), started)
    finally:
        assembly.stop()


def learned(
    recipe: Recipe, rule: Rule, data: Data, train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> Lesson:
    """The run's own heads, which choose a strength and scales; then every fold's head before and after."""
    folds, fold_of = tuple(range(recipe.folds)), data.pictures.train["fold"].to_numpy()
    classes = len(data.pictures.classes)
    with stage("heads") as said:
        first = features.train(
            recipe, train_features=train, test_features=test, labels=data.labels, fold_of=fold_of, folds=folds,
            classes=classes,
        )  # fmt: skip
        chosen = [record for record in first.history if record["chosen"]]
        strength, scales = float(chosen[0]["strength"]), {record["fold"]: record["scale"] for record in chosen}
        said.append(f"strength {strength:.1e}")
    with stage("pseudo") as said:
        material = Material(
            train=train,
            test=test,
            labels=data.labels,
            fold_of=fold_of,
            classes=classes,
            strength=strength,
            scales=scales,
        )
        teacher = Teacher(recipe, material, rule)
        taught = [teacher.teach(fold, folds) for fold in folds]
        said.append(f"{np.mean([len(one.rows) for one in taught]):,.0f} test pictures a fold")
    before, after = (
        features.predicted(
            recipe,
            [getattr(one, which) for one in taught],
            first.history,
            folds,
            material.train,
            material.test,
            material.fold_of,
        )
        for which in ("before", "after")
    )
    return Lesson(taught=taught, before=before, after=after, strength=strength)


def told(competition: Competition, data: Data, lesson: Lesson, rule: Rule) -> bool:
    """Prints what each fold was taught and what came of it. Returns whether it helps beyond noise."""
    tests, few = int(data.test_readable.sum()), "no threshold is precise enough"
    for one in lesson.taught:
        sure = f"{one.threshold:.3f} and more ({one.precision:.1%} right)" if one.threshold is not None else few
        log.info("  fold %d: %d of %d test pictures, %s", one.fold, len(one.rows), tests, sure)
    held = Held(
        part=Part(np.stack([lesson.before.oof, lesson.after.oof])), labels=data.labels,
        fold_of=data.pictures.train["fold"].to_numpy(), metric=competition.metric,
        positive=results.positive_class(competition, data),
    )  # fmt: skip
    before, after = (held.by_fold(values) for values in held.part.predictions)
    difference = difference_over_folds(held, *held.part.predictions)
    gain = difference if held.higher else -difference
    first = Step(kind="step", name="labels alone", folds=before, kept=True)
    step = Step(kind="step", name="pseudo-labels", folds=after, against=first.name, gain=gain)
    step = step.taken(step.helps, f"cap {rule.cap:.0%}, weight {rule.weight:g}, precision {rule.precision:.0%}")
    log.info("")
    for line in table([first, step], held.metric):
        log.info("%s", line)
    log.info("")
    log.info(
        "%s",
        total([first, step], held.metric, difference)
        if step.kept
        else "pseudo-labels do not help beyond noise: nothing is written",
    )
    return step.kept


def written(
    competition: Competition,
    options: Options,
    data: Data,
    lesson: Lesson,
    rule: Rule,
    live: tuple[assemble.Assembly, list[Extractor]],
    started: float,
) -> Path:
    """Writes the run with pseudo-labels, its model with it."""
    decides = results.decides(competition, options, lesson.after.folds)
    decides["competition"]["recipe"]["rung"] = "pseudo"
    decides["pseudo"] = asdict(rule)
    folder = runs.create(competition.name, "pseudo", decides, sha256_of_json(decides))
    assembly, extractors = live
    found = results.measured(competition, data, lesson.after)
    with stage("model") as said:
        found["hand_over"] = flow.hand_over(assembly, folder, extractors, data, lesson.after)
        said.append(f"live and cached predictions differ by at most {found['hand_over']:.1e}")
    found["before"] = results.measured(competition, data, lesson.before)["score"]
    found["strength"] = lesson.strength
    found["pseudo"] = [
        {"fold": one.fold, "pictures": len(one.rows), "threshold": one.threshold, "precision": one.precision}
        for one in lesson.taught
    ]
    found["parameters"] = sum(array.size for layer in lesson.after.heads[0].layers for array in layer)
    device = ", ".join(one.choose([]).engine for one in extractors)
    run = results.UnderWay(
        competition=competition, options=options, data=data, folder=folder, folds=lesson.after.folds, started=started
    )
    return results.close(run, lesson.after, found, device)
