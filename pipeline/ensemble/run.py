"""Makes one run of several, or corrects one; the result can be rebuilt to the bit from the same members.

Loads the members, tries methods and steps, keeps what helps, and writes a run that lists what it was made of.
Everything is scored in nested cross-validation.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.config import Competition, RunOptions, find_comp_argument
from pipeline.ensemble import methods as ensemble
from pipeline.ensemble import steps as finishing
from pipeline.ensemble.members import (
    AlignedMembers,
    format_member_name,
    load_aligned_members,
    load_member,
    load_views_as_members,
)
from pipeline.ensemble.picture_features import build_extractor
from pipeline.ensemble.scene_propagation import SceneSteps
from pipeline.ensemble.steps import StepwiseSelection, evaluate_procedure
from pipeline.errors import StarshiftError, require_name
from pipeline.evaluation.intervals import Interval, estimate_difference
from pipeline.evaluation.metrics import find_metric
from pipeline.evaluation.nested_cv import (
    FunctionProcedure,
    MemberPredictions,
    OneStandardErrorRule,
    OOFPredictions,
    Predictor,
)
from pipeline.figures.step_table import StepResult, format_step_table, format_total_gain, plot_steps
from pipeline.files import hash_json, write_atomic, write_json
from pipeline.kaggle.leaderboard import format_position
from pipeline.output import print_results
from pipeline.runs import folder as runs
from pipeline.runs import load
from pipeline.terminal import open_bar, paint_verdict
from pipeline.training.linear_probe import CVResult
from pipeline.workflow import finish as results
from pipeline.workflow.context import RunContext, log_stage

log = logging.getLogger(__name__)
KEEPING_RULE = "the final fit keeps a choice among predictions where it scores better, a correction only beyond noise"


@dataclass(frozen=True, kw_only=True)
class EnsembleRequest:
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
    def read(cls, values: Mapping[str, Any]) -> "EnsembleRequest":
        """As config.json holds it."""
        return cls(**{**values, "methods": tuple(values["methods"]), "bases": tuple(values["bases"])})


@dataclass(frozen=True, kw_only=True)
class EnsembleResult:
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
    fitted: Predictor
    difference: Interval
    steps: list[StepResult]
    methods: list[StepResult]

    @property
    def worth_it(self) -> bool:
        """Whether anything but the first step was kept, and more than one of the members as it is."""
        return any(step.kept for step in self.steps[1:]) and self.lone is None

    @property
    def lone(self) -> int | None:
        """The number of the member, among several, that alone is what was kept."""
        weights = self.fitted.record().get("weights", [])
        used = np.flatnonzero(weights)
        return int(used[0]) if len(weights) > 1 and len(used) == 1 and weights[used[0]] == 1 else None


def fit_ensemble(competition: Competition, aligned: AlignedMembers, request: EnsembleRequest) -> EnsembleResult:
    """Tries everything that was asked for. The same members give the same bits; nothing is written."""
    if len(aligned.members) == 1 and aligned.oof.scorer.score_ranks:
        aligned = load_views_as_members(aligned)
    oof, tests, scenes = add_picture_features(competition, aligned, request)
    with log_stage("nest") as notes:
        selection, methods = fit_methods(oof, aligned, request)
        if request.finish:
            finishing.try_steps(selection, aligned.data.pictures.classes, scenes, several=len(oof.part.predictions) > 1)
        notes.append(f"{len(methods)} methods and {len(selection.steps)} steps over {len(oof.folds)} folds")
    fitted, predicted = selection.current.on(oof.folds), selection.current.out_of(oof.folds)
    return EnsembleResult(
        oof=predicted.astype(np.float32),
        test=fitted.predict(tests).astype(np.float32),
        fitted=fitted,
        difference=estimate_difference(oof, selection.first.out_of(oof.folds), predicted),
        steps=selection.steps,
        methods=methods,
    )


def add_picture_features(
    competition: Competition, aligned: AlignedMembers, request: EnsembleRequest
) -> tuple[OOFPredictions, MemberPredictions, SceneSteps | None]:
    """Adds to out-of-fold and test predictions the features and keypoints that the steps need."""
    oof, tests, scenes = aligned.oof, MemberPredictions(aligned.tests), None
    compares = request.finish and finishing.needs_features(oof.metric, len(aligned.data.pictures.classes))
    links = request.finish and request.scenes
    extractor = build_extractor(competition, aligned, request.bases, request.engine) if compares or links else None
    if extractor and compares:
        with log_stage("features") as notes:
            features, test_features = extractor.features()
            notes.append(f"{len(features):,} x {features.shape[1]} for the pair's specialist")
        oof = replace(oof, part=replace(oof.part, features=features))
        tests = replace(tests, features=test_features)
    if extractor and links:
        with log_stage("scenes") as notes:
            scenes = SceneSteps(extractor.build_keypoint_index())
            notes.append(
                f"{scenes.index.keypoints.counts.sum():,} keypoints in {len(oof.part) + len(tests):,} pictures"
            )
        rows = np.arange(len(oof.part) + len(tests))
        oof = replace(oof, part=replace(oof.part, rows=rows[: len(oof.part)]))
        tests = replace(tests, rows=rows[len(oof.part) :])
    return oof, tests, scenes


def fit_methods(
    oof: OOFPredictions, aligned: AlignedMembers, request: EnsembleRequest
) -> tuple[StepwiseSelection, list[StepResult]]:
    """Fits each method alone, and the steps up to the ensemble."""
    names = [format_member_name(member) for member in aligned.members]
    every = range(len(names))
    if len(names) == 1:
        views = len(oof.part.predictions)
        return StepwiseSelection(
            FunctionProcedure(oof, "run as it is", ensemble.fit_mean),
            names[0] + (f", {views} views" if views > 1 else ""),
        ), []
    alone = [number for number in every if len(aligned.members[number].recipe.get("bases", ())) == 1]
    together = [number for number in every if number not in alone]

    first = ensemble.find_best_member(oof, alone or every)
    start = FunctionProcedure(oof, "best single base" if alone else "best run", ensemble.build_single(first))
    selection = StepwiseSelection(
        start, names[first]
    )  # its own score, though it was chosen by it: gains over it are not flattered
    if alone and together:
        combination = FunctionProcedure(oof, "best combination", ensemble.build_best_of(together))
        selection.attempt(
            combination,
            f"{names[ensemble.find_best_member(oof, together)]}; chosen on the other folds",
            beyond_noise=False,
        )
    tried = [FunctionProcedure(oof, name, ensemble.METHODS[name]) for name in select_methods(oof, request.methods)]
    bar = open_bar(tried, desc="methods", unit="method")
    methods = [evaluate_procedure("method", procedure, selection.current) for procedure in bar]
    among = [procedure for procedure in tried if procedure.name not in ensemble.REFERENCE_METHODS] or tried
    chosen = OneStandardErrorRule(oof, "ensemble", among)
    record = chosen.on(oof.folds).record()
    methods = [method.taken(method.name == record["method"]) for method in methods]
    selection.attempt(chosen, record["method"] + format_weights(record, names), beyond_noise=False)
    return selection, methods


def select_methods(oof: OOFPredictions, request: Sequence[str]) -> list[str]:
    """Selects the methods to try, those that fit nothing first; for an AUC, ranks before all.

    Raises:
        StarshiftError: there is none of this name.
    """
    for name in request:
        require_name(name, ensemble.METHODS, "There is no such method.")
    without = ensemble.RANK_METHODS if oof.scorer.needs_probabilities else ensemble.REFERENCE_METHODS
    order = sorted(
        ensemble.METHODS, key=lambda name: bool(oof.scorer.score_ranks) and name not in ensemble.RANK_METHODS
    )
    return [name for name in order if (name in request if request else name not in without)]


def format_weights(record: dict[str, Any], names: Sequence[str]) -> str:
    """Formats whom an ensemble is made of, the heaviest first."""
    weights = record.get("weights", [])
    order = [number for number in np.argsort(np.abs(weights))[::-1] if weights[number]]
    lines = ", ".join(f"{weights[number]:.2f} {names[number].partition(' ')[2]}" for number in order[:4])
    more = f" and {len(order) - 4} more" if len(order) > 4 else ""
    return f": {lines}{more}" if lines else ""


def print_ensemble(aligned: AlignedMembers, made: EnsembleResult) -> None:
    """Prints the runs, the methods and the steps."""
    oof = aligned.oof
    runs = [
        StepResult(kind="run", name=format_member_name(member), folds=oof.by_fold(values))
        for member, values in zip(aligned.members, oof.part.predictions, strict=True)
    ]
    best_first = sorted(runs, key=lambda step: -oof.scorer.sign * step.score)
    tables = {"runs": best_first, "methods": made.methods, "steps": made.steps}
    record = {name: [step.record() for step in steps] for name, steps in tables.items()}
    total = format_total_gain(made.steps, oof.metric, made.difference)
    print_results(
        {"metric": oof.metric, **record, "total": made.difference.record(), "made": None},
        *(format_step_table(steps, oof.metric) for steps in tables.values() if steps),
        [paint_verdict(total), KEEPING_RULE],
    )


def run_ensemble(competition: Competition, requested: Sequence[str], request: EnsembleRequest) -> Path | None:
    """Makes one run of several, or of all that fit together. Returns its folder; None where nothing helps.

    Args:
        competition: whose runs.
        requested: names of runs, or their beginnings; empty takes all that fit.
        request: from the command line.
    """
    started = time.perf_counter()
    with log_stage("runs") as notes:
        aligned = load_aligned_members(competition, requested)
        notes.append(f"{len(aligned.members)} go together, {len(aligned.left_out)} left out")
    for name, reason in aligned.left_out:
        log.info("  %s left out: %s", name, reason)
    if request.kind == "ensemble" and len(aligned.members) < 2:
        raise StarshiftError(
            "An ensemble needs two runs.",
            expected="runs of several bases, heads or seeds on the same folds",
            received=aligned.members[0].folder.name,
            remedy=f"invoke run --comp {find_comp_argument(competition.name)} --base ... --seed 1; "
            "one run alone: invoke finish",
        )
    made = fit_ensemble(competition, aligned, request)
    print_ensemble(aligned, made)
    folder = write_run(competition, aligned, request, made, started)
    print_results({"made": folder and folder.name})
    return folder


def finish_run(competition: Competition, requested: str | None, request: EnsembleRequest) -> Path | None:
    """Tries the steps that fit the metric on one run; on the best one where none is named."""
    if requested is None:
        sign = find_metric(competition.metric).sign
        best = max(load_aligned_members(competition).members, key=lambda member: sign * member.results["score"])
        requested = best.folder.name
    return run_ensemble(competition, [requested], request)


def write_run(
    competition: Competition, aligned: AlignedMembers, request: EnsembleRequest, made: EnsembleResult, started: float
) -> Path | None:
    """Writes a run that says what it is made of, or finds it; None where nothing was kept but what it started from."""
    if not made.worth_it:
        which = f": the run {aligned.members[made.lone].folder.name} is as good" if made.lone is not None else ""
        log.info("nothing is written%s", which)
        return None
    data, trained = aligned.data, build_cv_result(aligned, made)
    test = results.fill_test_predictions(data, made.test)
    if (before := find_identical_run(competition, aligned, request, made)) is not None:
        log.info("the same to the bit as %s, so no other run is written", before.name)
        for path in results.write_submission(competition, data, before, test):
            log.info("wrote %s", paths.format_path(path))
        return before
    folder = create_run_folder(competition, aligned, request, made)
    result = results.compute_metrics(competition, data, trained)
    result |= {"made_of": [member.folder.name for member in aligned.members]}
    result |= {"before": made.steps[0].score, "steps": [step.record() for step in made.steps]}
    write_json(folder / "environment.json", runs.describe_environment(competition.recipe.seed, "none"))
    files = results.write_run_files(competition, data, folder, trained, test, submit=True)
    chart = plot_steps(made.steps, competition.metric, made.difference)
    write_atomic(folder / "steps.png", lambda file: file.write(chart))
    run = RunContext(
        competition=competition, options=RunOptions(), data=data, folder=folder,
        folds=tuple(sorted(aligned.oof.folds)), started=started,
    )  # fmt: skip
    position = results.write_metrics(run, trained, result)
    results.write_report(run.folder, run.competition.name, run.data.digest_of)
    for line in format_position(position) if position else ():
        log.info("  %s", line)
    for path in (*files, folder):
        log.info("wrote %s", paths.format_path(path))
    return folder


def build_cv_result(aligned: AlignedMembers, made: EnsembleResult) -> CVResult:
    """Builds the result that `write_run_files` takes."""
    folds = tuple(sorted(aligned.oof.folds))
    history = [step.record() for step in (*made.methods, *made.steps)]
    return CVResult(folds=folds, history=history, oof=made.oof, oof_views={}, test=made.test, test_views={})


def find_identical_run(
    competition: Competition, aligned: AlignedMembers, request: EnsembleRequest, made: EnsembleResult
) -> Path | None:
    """Finds an earlier run of the same members whose predictions are the same."""
    before = runs.find_run(competition.name, hash_json(build_config(competition, aligned, request)))
    return before if before and not compute_differences(before, aligned, made) else None


def compute_differences(folder: Path, aligned: AlignedMembers, made: EnsembleResult) -> dict[str, float]:
    """Computes the largest difference to a run's stored predictions, by `oof` and `test`; nothing where equal."""
    known, data = load_member(folder), aligned.data
    parts = {
        "oof": (known.oof, data.pictures.train["id"], made.oof),
        "test": (known.test, data.pictures.test["id"], results.fill_test_predictions(data, made.test)),
    }
    result = {}
    for part, (before, ids, values) in parts.items():
        stored = before.loc[list(ids), data.pictures.classes].to_numpy()
        if not np.array_equal(values, stored):
            result[part] = float(np.abs(values - stored).max())
    return result


def build_config(competition: Competition, aligned: AlignedMembers, request: EnsembleRequest) -> dict[str, Any]:
    """Builds the configuration: everything that decides the result of a derived run."""

    def shared(key: str) -> Any:
        """Returns the value that all members share, or None."""
        result = [member.recipe.get(key) for member in aligned.members]
        return result[0] if all(value == result[0] for value in result) else None

    recipe = {
        **asdict(competition.recipe), "strategy": request.kind, "folds": len(aligned.oof.folds),
        "bases": list(dict.fromkeys(base for member in aligned.members for base in member.recipe.get("bases", ()))),
        "size": shared("size"), "head": shared("head"),
    }  # fmt: skip
    return {
        "competition": {**asdict(competition), "recipe": recipe},
        "folds": sorted(aligned.oof.folds),
        "debug": False,
        "asked": asdict(request),
        "made_of": [
            {"run": m.folder.name, "fingerprint": m.config.get("fingerprint", ""), **m.digests} for m in aligned.members
        ],
    }


def create_run_folder(
    competition: Competition, aligned: AlignedMembers, request: EnsembleRequest, made: EnsembleResult
) -> Path:
    """Creates the run's folder with config.json; the fingerprint is of the inputs, not of the result."""
    decided = build_config(competition, aligned, request)
    kept = [step.name for step in made.steps if step.kept]
    config = {**decided, "steps": kept, "fitted": made.fitted.record()}
    return runs.create_run_folder(competition.name, request.kind, config, hash_json(decided))


def rebuild_run(competition: Competition, text: str) -> Path:
    """Makes a run of its members again and holds it against what is in its folder.

    Raises:
        StarshiftError: it is not made of others, a member has changed, or the predictions differ.
    """
    folder = load.find_run_folder(text, competition.name)
    config = runs.read_config(folder)
    if not config.get("made_of"):
        raise StarshiftError(
            f"The run {folder.name} is not made of others.", expected="a run of the command ensemble or finish"
        )
    require_unchanged_members(competition, config["made_of"])
    request = EnsembleRequest.read(config["asked"])
    aligned = load_aligned_members(competition, [each["run"] for each in config["made_of"]])
    made = fit_ensemble(competition, aligned, request)
    for part, difference in compute_differences(folder, aligned, made).items():
        raise StarshiftError(
            f"{folder.name} comes out differently.",
            expected=f"the same {part} predictions to the bit",
            received=f"at most {difference:.1e} apart",
            remedy="environment.json says which versions it was made with",
        )
    log.info("%s is the same to the bit", folder.name)
    return folder


def require_unchanged_members(competition: Competition, made_of: Sequence[dict[str, Any]]) -> None:
    """Holds members against the digests that a run remembers of them."""
    for each in made_of:
        try:
            member = load_member(load.find_run_folder(each["run"], competition.name))
        except StarshiftError as error:
            raise StarshiftError(
                f"The member {each['run']} cannot be read, and the run cannot be made without it.",
                expected=f"its folder, as it was, in {paths.format_path(paths.runs_folder(competition.name))}",
                received=error.message,
            ) from error
        for part, digest in member.digests.items():
            if digest != each[part]:
                raise StarshiftError(
                    f"The member {each['run']} is not the one that the run was made of.",
                    expected=f"{part}.npz with SHA-256 {each[part][:16]}...",
                    received=f"{digest[:16]}...",
                )
