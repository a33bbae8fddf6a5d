"""Loads a finished run: found by its name or the beginning of it, its predictions as tables by id and class."""

import shlex
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import paths
from pipeline.config import select_bases
from pipeline.errors import StarshiftError, require, suggest_name
from pipeline.files import DamagedFileError, hash_file
from pipeline.models.base import Base, build_scratch_base, parse_base
from pipeline.models.heads import Head
from pipeline.runs import folder as runs
from pipeline.runs import listing
from pipeline.runs.note import read_note
from pipeline.training.export import HEADS_FILE, read_heads


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run's folder.

    Args:
        folder: the run's.
        config: config.json.
        environment: environment.json.
        results: metrics.json.
        folds: by id, of all training pictures: columns label, fold and group, text but for fold.
        oof: out-of-fold probabilities float32 by id, a column a class, sorted; NaN where the fold was not trained.
    """

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Mapping[str, Any]
    folds: pd.DataFrame
    oof: pd.DataFrame

    @cached_property
    def test(self) -> pd.DataFrame:
        """Test probabilities float32 by id, a column a class.

        Raises:
            StarshiftError: the file is missing or damaged.
        """
        return read_prediction_table(self.folder / "test.npz")

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe as config.json has it."""
        recipe: Mapping[str, Any] = self.config.get("competition", {}).get("recipe", {})
        return recipe

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        return list(self.oof.columns)

    @cached_property
    def label(self) -> dict[str, str]:
        """The class of each training picture, by id."""
        return dict(zip(self.folds.index, self.folds["label"], strict=True))

    @cached_property
    def fold(self) -> dict[str, int]:
        """The fold of each training picture, by id."""
        return dict(zip(self.folds.index, map(int, self.folds["fold"]), strict=True))

    @cached_property
    def held_ids(self) -> list[str]:
        """The ids of the pictures that a trained fold held out."""
        return list(self.oof.index[np.isfinite(self.oof.to_numpy()).all(axis=1)])

    @property
    def positive(self) -> int | None:
        """The number of the class whose probability is predicted, or None."""
        positive = self.config["competition"].get("labels", {}).get("positive")
        return self.classes.index(positive) if positive in self.classes else None

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of the prediction files."""
        return {part: hash_file(self.folder / f"{part}.npz") for part in ("oof", "test")}

    def align(self, ids: Sequence[str], classes: Sequence[str] | None = None) -> np.ndarray:
        """Returns out-of-fold probabilities (ids, classes) float32 in this order; None takes the run's classes."""
        return self.oof.loc[list(ids), self.classes if classes is None else list(classes)].to_numpy()


def read_strategy(config: Mapping[str, Any]) -> str:
    """Returns the strategy that trained a run's models; derived recipes name the distillation or pseudo-labels.

    Args:
        config: the run's config.json.
    """
    strategy = str(config.get("distillation", config["competition"]["recipe"])["strategy"])
    return "features" if strategy == "pseudo" else strategy


def list_bases(config: Mapping[str, Any]) -> dict[str, Base]:
    """Lists the bases of a run by their names in its recipe, the trained one alone, or the small network of `scratch`.

    Args:
        config: the run's config.json.
    """
    recipe = config["competition"]["recipe"]
    texts = select_bases(read_strategy(config), recipe["bases"])
    named = {text: parse_base(text, recipe["size"]) for text in texts}
    return named or {"scratch": build_scratch_base(recipe["size"])}


def find_run_folder(text: str, comp: str | None, usable: Callable[[Path], bool] | None = None) -> Path:
    """Finds the run of this name, whose folder's name begins like this, or at this path; `latest` or `best`.

    Args:
        text: the name that the user gave it, or that of its folder.
        comp: name of a competition; None looks at all.
        usable: which runs may be the latest or the best; None takes all.

    Raises:
        StarshiftError: none, or several.
    """
    if runs.is_run(Path(text).expanduser()):
        return Path(text).expanduser()
    if text in ("latest", "best"):
        return _find_ranked_run(text, comp, usable or (lambda folder: True))
    names = [listing.find_competition_name(comp)] if comp else listing.list_competitions()
    folders = [folder for name in sorted(names) for folder in runs.list_run_folders(name)]
    named = [folder for folder in folders if text and read_note(folder).name == text]
    whole = [folder for folder in folders if text == folder.name or folder.name.startswith(f"{text}-")]
    matching = named or whole or [folder for folder in folders if text and folder.name.startswith(text)]
    if len(matching) != 1:
        starts = ("-".join(folder.name.split("-")[:2]) for folder in folders)
        names = ["latest", "best", *(read_note(folder).name for folder in folders), *starts]
        suggestion = "" if matching else suggest_name(text, [*names, *(folder.name for folder in folders)])
        several = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in matching[:5])
        raise StarshiftError(
            f"{'No run' if not matching else 'More than one run'} is called {text!r}.",
            expected="a run's name, its folder's, a beginning that only one has, or a path",
            received=f"{len(matching)} runs: {several}" if matching else f"none of {len(folders)} runs",
            remedy=suggestion or f"invoke runs{' --comp ' + shlex.quote(comp) if comp else ''} lists them",
        )
    return matching[0]


def load_run(folder: Path) -> Run:
    """Reads a finished run.

    Raises:
        StarshiftError: it is unfinished, or a file of it is missing.
    """
    config, results = runs.read_config(folder), runs.read_metrics(folder)
    needed = [name for name in ("folds.csv", "oof.npz") if not (folder / name).is_file()]
    if not config or not results or needed:
        raise StarshiftError(
            f"The run {folder.name} is not finished.",
            expected="config.json, metrics.json, folds.csv and oof.npz",
            received=f"without {', '.join(needed) or 'metrics.json'}",
            remedy="the command that started it finishes it",
        )
    runs.check_file(folder / "folds.csv")
    dtypes = {"id": str, "label": str, "group": str, "fold": int}
    table = pd.read_csv(folder / "folds.csv", dtype=dtypes, keep_default_na=False)
    oof = read_prediction_table(folder / "oof.npz")
    return Run(
        folder=folder,
        config=config,
        environment=runs.read_environment(folder),
        results=results,
        folds=table.set_index("id"),
        oof=oof[sorted(oof.columns)],
    )


def load_heads(folder: Path) -> list[Head]:
    """Loads the heads of a run's folds.

    Raises:
        StarshiftError: they are damaged.
    """
    path = folder / HEADS_FILE
    runs.check_file(path)
    try:
        return read_heads(path)
    except (DamagedFileError, ValueError) as error:
        raise runs.build_damaged_error(path, str(error)) from error


def load_model(path: Path) -> Any:
    """Loads a Keras model of a run.

    Raises:
        StarshiftError: it is damaged.
    """
    import keras

    runs.check_file(path)
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise runs.build_damaged_error(path, f"{type(error).__name__}: {error}") from error


def read_prediction_table(path: Path) -> pd.DataFrame:
    """Reads probabilities by id and class, as `folder.write_predictions` wrote them."""
    ids, classes, probabilities = runs.read_predictions(path)
    return pd.DataFrame(probabilities, index=ids, columns=classes)


def _find_ranked_run(text: str, comp: str | None, usable: Callable[[Path], bool]) -> Path:
    """Finds the finished run that started last, or that scores best in the metric of most runs, debug runs apart."""
    names = [listing.find_competition_name(comp)] if comp else listing.list_competitions()
    every = {name: [one for one in listing.list_runs(name) if one.state == "finished"] for name in names}
    finished = {
        name: found
        for name, runs_of in every.items()
        if (found := [one for one in runs_of if usable(paths.runs_folder(name) / one.run)])
    }
    require(finished, "No run is finished.", expected="a finished run", received=comp or "no competition with runs",
            remedy=f"invoke run --comp {shlex.quote(comp or 'COMP')}")  # fmt: skip
    if text == "latest":
        run, name = max((found[-1].run, name) for name, found in finished.items())
    else:
        require(len(finished) == 1, "The best run of which competition?", expected="--comp with one of them",
                received=", ".join(sorted(finished)))  # fmt: skip
        ((name, found),) = finished.items()
        metric = Counter(one.metric for one in found).most_common(1)[0][0]
        run = listing.rank_runs([one for one in found if one.metric == metric], metric)[0].run
    return paths.runs_folder(name) / run
