"""Runs made of others: written so that they explain themselves, and rebuilt to the bit from the same members."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, results, runs
from pipeline.composing.ensembling import Asked, Made, compose, tell
from pipeline.composing.joining import Gathered, gather
from pipeline.composing.members import opened
from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import read_json, sha256_of_json, write_atomic, write_json
from pipeline.kaggle.standing import sentences
from pipeline.leaderboard import standing_of
from pipeline.ledger import reading
from pipeline.naming import called
from pipeline.predict.metrics import higher_is_better
from pipeline.preparation import stage
from pipeline.report.steps import steps_chart
from pipeline.training.features import Trained

log = logging.getLogger(__name__)


def ensemble(competition: Competition, wanted: Sequence[str], asked: Asked) -> Path | None:
    """Makes one run of several, or of all that fit together. Returns its folder; None where nothing helps.

    Args:
        competition: whose runs.
        wanted: names of runs, or their beginnings; empty takes all that fit.
        asked: from the command line.
    """
    started = time.perf_counter()
    with stage("runs") as said:
        gathered = gather(competition, wanted)
        said.append(f"{len(gathered.members)} go together, {len(gathered.left_out)} left out")
    for name, reason in gathered.left_out:
        log.info("  %s left out: %s", name, reason)
    if asked.kind == "ensemble" and len(gathered.members) < 2:
        raise StarshiftError(
            "An ensemble needs two runs.",
            expected="runs of several bases, heads or seeds on the same folds",
            received=gathered.members[0].folder.name,
            remedy=f"invoke run --comp {called(competition.name)} --base ... --seed 1; one run alone: invoke finish",
        )
    made = compose(competition, gathered, asked)
    tell(gathered, made)
    return written(competition, gathered, asked, made, started)


def finish(competition: Competition, wanted: str | None, asked: Asked) -> Path | None:
    """Tries the steps that fit the metric on one run; on the best one where none is named."""
    if wanted is None:
        sign = 1 if higher_is_better(competition.metric) else -1
        best = max(gather(competition).members, key=lambda member: sign * member.results["score"])
        wanted = best.folder.name
    return ensemble(competition, [wanted], asked)


def written(competition: Competition, gathered: Gathered, asked: Asked, made: Made, started: float) -> Path | None:
    """Writes a run that says what it is made of, or finds it; None where nothing was kept but what it started from."""
    if not made.worth_it:
        which = f": the run {gathered.members[made.lone].folder.name} is as good" if made.lone is not None else ""
        log.info("nothing is written%s", which)
        return None
    data, trained = gathered.data, trained_as(gathered, made)
    test = results.test_predictions(data, made.test)
    if (before := same_as(competition, gathered, asked, made)) is not None:
        log.info("the same to the bit as %s, so no other run is written", before.name)
        for path in results.submitted(competition, data, before, test):
            log.info("wrote %s", paths.shown(path))
        return before
    folder = create(competition, gathered, asked, made)
    found = results.measured(competition, data, trained)
    found |= {"made_of": [member.folder.name for member in gathered.members]}
    found |= {"before": made.steps[0].score, "steps": [step.record() for step in made.steps]}
    write_json(folder / "environment.json", runs.environment(competition.recipe.seed, "none"))
    files = results.finish(competition, data, folder, trained, test, submit=True)
    chart = steps_chart(made.steps, competition.metric, made.difference)
    write_atomic(folder / "steps.png", lambda file: file.write(chart))
    standing = standing_of(competition, data, trained, found["folds"], results.positive_class(competition, data))
    found |= {"seconds": round(time.perf_counter() - started, 2), "megabytes": results.peak_memory()}
    found["standing"] = asdict(standing) if standing else None
    write_json(folder / "metrics.json", found)
    for line in sentences(standing) if standing else ():
        log.info("  %s", line)
    for path in (*files, folder):
        log.info("wrote %s", paths.shown(path))
    return folder


def trained_as(gathered: Gathered, made: Made) -> Trained:
    """What the last stages of every run take."""
    folds = tuple(sorted(gathered.held.folds))
    history = [step.record() for step in (*made.methods, *made.steps)]
    return Trained(folds=folds, history=history, oof=made.oof, oof_views={}, test=made.test, test_views={})


def same_as(competition: Competition, gathered: Gathered, asked: Asked, made: Made) -> Path | None:
    """The run that was made of the same members before, if its predictions are these, too."""
    before = runs.found(competition.name, sha256_of_json(decides(competition, gathered, asked)))
    return before if before and not apart(before, gathered, made) else None


def apart(folder: Path, gathered: Gathered, made: Made) -> dict[str, float]:
    """How far predictions lie from those in a run's folder at most, by `oof` and `test`; nothing where to the bit."""
    known, data = opened(folder), gathered.data
    parts = {
        "oof": (known.held, data.pictures.train["id"], made.oof),
        "test": (known.test, data.pictures.test["id"], results.test_predictions(data, made.test)),
    }
    found = {}
    for part, (before, ids, values) in parts.items():
        stored = before.loc[list(ids), data.pictures.classes].to_numpy()
        if not np.array_equal(values, stored):
            found[part] = float(np.abs(values - stored).max())
    return found


def decides(competition: Competition, gathered: Gathered, asked: Asked) -> dict[str, Any]:
    """Everything that decides the result of a run made of others."""

    def shared(key: str) -> Any:
        """What all members have in common, or None."""
        found = [member.recipe.get(key) for member in gathered.members]
        return found[0] if all(value == found[0] for value in found) else None

    recipe = {
        **asdict(competition.recipe), "rung": asked.kind, "folds": len(gathered.held.folds),
        "bases": list(dict.fromkeys(base for member in gathered.members for base in member.recipe.get("bases", ()))),
        "size": shared("size"), "head": shared("head"),
    }  # fmt: skip
    return {
        "competition": {**asdict(competition), "recipe": recipe},
        "folds": sorted(gathered.held.folds),
        "debug": False,
        "asked": asdict(asked),
        "made_of": [
            {"run": m.folder.name, "fingerprint": m.config.get("fingerprint", ""), **m.digests}
            for m in gathered.members
        ],
    }


def create(competition: Competition, gathered: Gathered, asked: Asked, made: Made) -> Path:
    """The run's folder, its config.json in it; the fingerprint is of what decides the result, not of the result."""
    decided = decides(competition, gathered, asked)
    kept = [step.name for step in made.steps if step.kept]
    config = {**decided, "steps": kept, "fitted": made.fitted.told()}
    return runs.create(competition.name, asked.kind, config, sha256_of_json(decided))


def rebuild(competition: Competition, text: str) -> Path:
    """Makes a run of its members again and holds it against what is in its folder.

    Raises:
        StarshiftError: it is not made of others, a member has changed, or the predictions differ.
    """
    folder = reading.found(text, competition.name)
    config = read_json(folder / "config.json") or {}
    if not config.get("made_of"):
        raise StarshiftError(
            f"The run {folder.name} is not made of others.", expected="a run of the command ensemble or finish"
        )
    unchanged(competition, config["made_of"])
    asked = Asked.read(config["asked"])
    gathered = gather(competition, [each["run"] for each in config["made_of"]])
    made = compose(competition, gathered, asked)
    for part, difference in apart(folder, gathered, made).items():
        raise StarshiftError(
            f"{folder.name} comes out differently.",
            expected=f"the same {part} predictions to the bit",
            received=f"at most {difference:.1e} apart",
            remedy="environment.json says which versions it was made with",
        )
    log.info("%s is the same to the bit", folder.name)
    return folder


def unchanged(competition: Competition, made_of: Sequence[dict[str, Any]]) -> None:
    """Holds members against the digests that a run remembers of them."""
    for each in made_of:
        try:
            member = opened(reading.found(each["run"], competition.name))
        except StarshiftError as error:
            raise StarshiftError(
                f"The member {each['run']} cannot be read, and the run cannot be made without it.",
                expected=f"its folder, as it was, in {paths.shown(paths.runs_folder(competition.name))}",
                received=error.message,
            ) from error
        for part, digest in member.digests.items():
            if digest != each[part]:
                raise StarshiftError(
                    f"The member {each['run']} is not the one that the run was made of.",
                    expected=f"{part}.npz with SHA-256 {each[part][:16]}...",
                    received=f"{digest[:16]}...",
                )
