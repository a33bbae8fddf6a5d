"""Several runs made into one that explains itself, and one run given the finish that its metric asks for.

Like flow, it knows an order: runs gathered, methods tried, steps kept where they help, and a run written that says what
it was made of. Everything is judged in a nest of folds.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.composing import finishing
from pipeline.composing.finishing import Climb, judged
from pipeline.composing.joining import Gathered, by_view
from pipeline.composing.looking import looking
from pipeline.composing.same_scene import Scenes
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.predict import ensemble
from pipeline.predict.gains import difference_over_folds
from pipeline.predict.held import Held, Part
from pipeline.predict.intervals import Interval
from pipeline.predict.nested import Chosen, Fitted, Plain
from pipeline.preparation import stage
from pipeline.report.steps import Step, table, total

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for; it decides the result.

    Args:
        kind: `ensemble`, or `finish` for the steps on a single run.
        methods: some of ensemble.METHODS; empty tries all that fit the metric.
        finish: try the steps that fit the metric.
        bases: that the pair's specialist sees; empty takes those of the best run.
        engine: that computes features which are not in the cache.
        scenes: let pictures of one scene agree on a class.
    """

    kind: str = "ensemble"
    methods: tuple[str, ...] = ()
    finish: bool = True
    bases: tuple[str, ...] = ()
    engine: str = "auto"
    scenes: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Asked":
        """As config.json holds it."""
        return cls(**{**values, "methods": tuple(values["methods"]), "bases": tuple(values["bases"])})


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of it.

    Args:
        oof: probabilities (pictures, classes) float32, each fold's by what was fitted on the others.
        test: probabilities (readable test pictures, classes) float32, by what was fitted on all folds.
        fitted: the latter.
        difference: of the metric, from the start to the end.
        steps: from the start to the end.
        methods: each alone, against the first step.
    """

    oof: np.ndarray
    test: np.ndarray
    fitted: Fitted
    difference: Interval
    steps: list[Step]
    methods: list[Step]

    @property
    def worth_it(self) -> bool:
        """Whether anything but the first step was kept, and more than one of the members as it is."""
        return any(step.kept for step in self.steps[1:]) and self.lone is None

    @property
    def lone(self) -> int | None:
        """The number of the member, among several, that alone is what was kept."""
        weights = self.fitted.told().get("weights", [])
        used = np.flatnonzero(weights)
        return int(used[0]) if len(weights) > 1 and len(used) == 1 and weights[used[0]] == 1 else None


def compose(competition: Competition, gathered: Gathered, asked: Asked) -> Made:
    """Tries everything that was asked for. The same members give the same bits; nothing is written."""
    if len(gathered.members) == 1 and gathered.held.metric == "auc":
        gathered = by_view(gathered)
    held, tests, scenes = looked_at(competition, gathered, asked)
    with stage("nest") as said:
        climb, methods = started(held, gathered, asked)
        if asked.finish:
            finishing.climb_on(climb, gathered.data.pictures.classes, scenes, several=len(held.part.predictions) > 1)
        said.append(f"{len(methods)} methods and {len(climb.steps)} steps over {len(held.folds)} folds")
    fitted, oof = climb.current.on(held.folds), climb.current.out_of(held.folds)
    return Made(
        oof=oof.astype(np.float32),
        test=fitted.predict(tests).astype(np.float32),
        fitted=fitted,
        difference=difference_over_folds(held, climb.first.out_of(held.folds), oof),
        steps=climb.steps,
        methods=methods,
    )


def looked_at(competition: Competition, gathered: Gathered, asked: Asked) -> tuple[Held, Part, Scenes | None]:
    """Held-out and test predictions, with what the steps that were asked for see of the pictures."""
    held, tests, scenes = gathered.held, Part(gathered.tests), None
    compares = asked.finish and finishing.wants_features(held.metric, len(gathered.data.pictures.classes))
    links = asked.finish and asked.scenes
    seen = looking(competition, gathered, asked.bases, asked.engine) if compares or links else None
    if seen and compares:
        with stage("features") as said:
            features, test_features = seen.features()
            said.append(f"{len(features):,} x {features.shape[1]} for the pair's specialist")
        held = replace(held, part=replace(held.part, features=features))
        tests = replace(tests, features=test_features)
    if seen and links:
        with stage("scenes") as said:
            scenes = Scenes(seen.sought())
            said.append(
                f"{scenes.sought.keypoints.counts.sum():,} keypoints in {len(held.part) + len(tests):,} pictures"
            )
        rows = np.arange(len(held.part) + len(tests))
        held = replace(held, part=replace(held.part, rows=rows[: len(held.part)]))
        tests = replace(tests, rows=rows[len(held.part) :])
    return held, tests, scenes


def started(held: Held, gathered: Gathered, asked: Asked) -> tuple[Climb, list[Step]]:
    """The steps up to the ensemble, and each method alone."""
    names = [member.name for member in gathered.members]
    every = range(len(names))
    if len(names) == 1:
        views = len(held.part.predictions)
        return Climb(
            Plain(held, "run as it is", ensemble.mean), names[0] + (f", {views} views" if views > 1 else "")
        ), []
    alone = [number for number in every if len(gathered.members[number].bases) == 1]
    together = [number for number in every if number not in alone]

    first = ensemble.best(held, alone or every)
    start = Plain(held, "best single base" if alone else "best run", ensemble.only(first))
    climb = Climb(start, names[first])  # its own score, though it was chosen by it: gains over it are not flattered
    if alone and together:
        combination = Plain(held, "best combination", ensemble.best_of(together))
        climb.attempt(
            combination, f"{names[ensemble.best(held, together)]}; chosen on the other folds", beyond_noise=False
        )
    tried = [Plain(held, name, ensemble.METHODS[name]) for name in methods_for(held, asked.methods)]
    methods = [judged("method", procedure, climb.current) for procedure in tried]
    among = [procedure for procedure in tried if procedure.name not in ensemble.FOR_COMPARISON] or tried
    chosen = Chosen(held, "ensemble", among)
    told = chosen.on(held.folds).told()
    climb.attempt(chosen, told["method"] + shares(told, names), beyond_noise=False)
    return climb, methods


def methods_for(held: Held, asked: Sequence[str]) -> list[str]:
    """The methods to try, those that fit nothing first; and before all for an AUC, ranks, which are all that it sees.

    Raises:
        StarshiftError: there is none of this name.
    """
    if unknown := set(asked) - set(ensemble.METHODS):
        raise StarshiftError(
            "There is no such method.", expected=" | ".join(ensemble.METHODS), received=", ".join(sorted(unknown))
        )
    without = ensemble.FOR_COMPARISON if held.higher else ensemble.ORDER_ONLY
    order = sorted(ensemble.METHODS, key=lambda name: held.metric == "auc" and name not in ensemble.ORDER_ONLY)
    return [name for name in order if (name in asked if asked else name not in without)]


def shares(told: dict[str, Any], names: Sequence[str]) -> str:
    """Whom an ensemble is made of, the heaviest first."""
    weights = told.get("weights", [])
    order = [number for number in np.argsort(np.abs(weights))[::-1] if weights[number]]
    said = ", ".join(f"{weights[number]:.2f} {names[number].partition(' ')[2]}" for number in order[:4])
    more = f" and {len(order) - 4} more" if len(order) > 4 else ""
    return f": {said}{more}" if said else ""


def tell(gathered: Gathered, made: Made) -> None:
    """Prints the runs, the methods and the steps."""
    held = gathered.held
    runs = [
        Step(kind="run", name=member.name, folds=held.by_fold(values))
        for member, values in zip(gathered.members, held.part.predictions, strict=True)
    ]
    best_first = sorted(runs, key=lambda step: -step.score if held.higher else step.score)
    for steps in (best_first, made.methods, made.steps):
        if steps:
            log.info("")
        for line in table(steps, held.metric) if steps else ():
            log.info("%s", line)
    log.info("")
    log.info("%s", total(made.steps, held.metric, made.difference))
