"""Weights for kernels without internet: what a recipe needs, where it is here, and a private dataset that has it."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.figures.text_table import format_text_table
from pipeline.kaggle import datasets
from pipeline.kaggle.api_errors import CallPurpose
from pipeline.kaggle.client import authenticate
from pipeline.kaggle.inputs import PUBLIC_DATASETS, find_public_dataset
from pipeline.kaggle.retry import call_with_retries
from pipeline.models import base as bases

log = logging.getLogger(__name__)
DATASET_SLUG, DATASET_TITLE = "starshift-weights", "Starshift: weights of bases"
MANIFEST_PREFIX = "starshift-weights-"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A weights file that a recipe needs.

    Args:
        base: as the recipe names it.
        path: where it is here, or belongs.
        sha256: 64 hex digits; empty where it is not here.
    """

    base: str
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        """The file's, by which a kernel finds it."""
        return self.path.name


def list_bases(competition: Competition) -> list[bases.Base]:
    """The bases whose weights a recipe needs.

    Raises:
        StarshiftError: second moments in directions that have a name, which are here alone.
    """
    recipe = competition.recipe
    found = [bases.parse_base(text, recipe.size) for text in recipe.used_bases]
    for base in found:
        require(
            not base.by_moments or base.pooling == bases.SECOND_MOMENTS,
            "Directions that were learned here are not on Kaggle.",
            expected=str(replace(base, pooling=bases.SECOND_MOMENTS)),
            received=str(base),
            remedy="without their name they are learned there, from the same pictures",
        )
    return found


def list_weights(chosen: Sequence[bases.Base]) -> list[WeightsFile]:
    """The weights files of these bases, each once.

    Raises:
        StarshiftError: two different files have one name.
    """
    found: dict[str, WeightsFile] = {}
    for base in chosen:
        path = bases.find_weights_path(base)
        if path is None:
            continue
        one = WeightsFile(base=str(base), path=path, sha256=bases.compute_weights_digest(base) if path.exists() else "")
        other = found.setdefault(one.name, one)
        require(
            other.path == one.path,
            "Two weights files have one name, by which kernels find them.",
            expected="distinct names",
            received=[str(other.path), str(one.path)],
        )
    return list(found.values())


def find_missing_weights(chosen: Sequence[bases.Base], sources: Sequence[str], api: Any = None) -> list[str]:
    """The weights files that a kernel would look for in vain.

    Args:
        chosen: the bases, see `list_bases`.
        sources: what is attached: datasets (`owner/slug`) and models (`owner/model/framework/variation/version`).
        api: from `authenticate`; made where it is needed and not given.

    Raises:
        KaggleError: a source is not there, or Kaggle cannot be asked.
    """
    wanted = [one.name for one in list_weights(chosen)]
    known = {name for source in sources for name in PUBLIC_DATASETS.get(source, ())}
    left = [name for name in wanted if name not in known]
    for source in sources if left else ():
        if source not in PUBLIC_DATASETS:
            api = api or authenticate()
            held = list_file_names(api, source)
            left = [name for name in left if name not in held]
    return left


def find_own_dataset(api: Any, chosen: Sequence[bases.Base], dataset: str = DATASET_SLUG) -> list[str]:
    """The account's own dataset of weights, `[owner/slug]`, if it is ready and has any of these bases' files."""
    ref = datasets.resolve_ref(api, dataset)
    wanted = {one.name for one in list_weights(chosen)}
    found = datasets.find_dataset(api, ref) if wanted else None
    ready = found is not None and found.status == datasets.READY
    return [ref] if ready and wanted & set(datasets.list_files(api, ref)) else []


def list_file_names(api: Any, source: str) -> set[str]:
    """The names of the files in a dataset, or in a model's version."""
    if source.count("/") == 1:
        return set(datasets.list_files(api, source))
    purpose = CallPurpose(doing=f"listing the model {source}", kind="model", name=source)
    answer = call_with_retries(
        api.model_instance_version_files, source, page_size=200, purpose=purpose, safe_to_repeat=True
    )
    return {Path(one.name).name for one in (answer.files if answer else None) or []}


def log_weights(competition: Competition) -> list[WeightsFile]:
    """Prints which weights a recipe needs, and where they are."""
    found = list_weights(list_bases(competition))
    if not found:
        log.info("%s needs no weights (rung %s)", competition.name, competition.recipe.rung)
        return found
    rows = []
    for one in found:
        size = f"{one.path.stat().st_size / 1e6:,.1f}" if one.sha256 else ""
        public = find_public_dataset(one.name)
        rows.append(
            [one.base, one.name, size, one.sha256[:16] or "not here", paths.format_path(one.path.parent), public or ""]
        )
    for line in format_text_table(["base", "file", "MB", "SHA-256", "belongs in", "public dataset"], rows, ("MB",)):
        log.info("%s", line)
    return found


def upload_weights(competition: Competition, dataset: str | None = None, *, dry: bool = False) -> str:
    """Puts the weights that a recipe needs into a private dataset, with those that it has already.

    Args:
        competition: whose recipe.
        dataset: `owner/slug`, or a slug; starshift-weights where not given.
        dry: only show what would be sent; Kaggle is not asked.

    Returns:
        The dataset with its version, `owner/slug/3`; without owner and version where it is dry.

    Raises:
        StarshiftError: weights cannot be had here, or see datasets.publish_version.
    """
    slug = datasets.check_dataset_name(dataset or DATASET_SLUG)
    own = [_fetch_weights(base) for base in list_bases(competition)]
    files = {path.name: path for path in own if path is not None}
    if not files:
        raise StarshiftError(f"{competition.name} needs no weights.", received=f"rung {competition.recipe.rung}")
    if dry:
        log_upload("would go into", slug, files)
        return slug
    api = authenticate()
    ref = datasets.resolve_ref(api, slug)
    before = datasets.wait_until_idle(api, ref)
    listed = datasets.list_files(api, ref) if before else {}
    files |= find_other_files(listed, files)
    manifest = datasets.write_manifest(MANIFEST_PREFIX, files.values())
    if before and before.status == datasets.READY and {*files, manifest.name} <= set(listed):
        log.info("dataset  %s version %d has them already", ref, before.version)
        return f"{ref}/{before.version}"
    log_upload("going into", ref, files)
    notes = f"weights of {', '.join(sorted(files))}"
    done = datasets.publish_version(api, ref, DATASET_TITLE, [*files.values(), manifest], notes, before)
    log.info("dataset  %s version %d is ready", ref, done.version)
    return f"{ref}/{done.version}"


def _fetch_weights(base: bases.Base) -> Path | None:
    """A base's weights file, fetched where it is not here; None for random weights."""
    path = bases.find_weights_path(base)
    if path is not None:
        bases.compute_weights_digest(base)
    return path


def find_other_files(listed: dict[str, int], files: dict[str, Path]) -> dict[str, Path]:
    """What the dataset has beside these files and is here too: a version replaces all files, so it is sent again."""
    places = (Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models", bases.WEIGHTS_FOLDER)
    others = [name for name in listed if name not in files and not name.startswith(MANIFEST_PREFIX)]
    found = {name: place / name for name in others for place in places if (place / name).is_file()}
    if lost := sorted(set(others) - set(found)):
        log.warning("  warning: the new version will be without %s, which are not here", ", ".join(lost))
    return found


def log_upload(doing: str, ref: str, files: dict[str, Path]) -> None:
    """Says what is sent."""
    size = sum(path.stat().st_size for path in files.values()) / 1e6
    log.info("weights  %d files, %.1f MB, %s the private dataset %s:", len(files), size, doing, ref)
    for name, path in files.items():
        log.info("         %s, %.1f MB, from %s", name, path.stat().st_size / 1e6, paths.format_path(path.parent))
