"""Weights files for kernels without internet: which a recipe needs, and a private dataset that has them."""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.config import Competition
from pipeline.errors import StarshiftError, require
from pipeline.figures.text_table import format_records
from pipeline.kaggle import datasets
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.client import authenticate
from pipeline.kaggle.inputs import PUBLIC_DATASETS, find_public_dataset
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels.job import WeightsSpec
from pipeline.models import base as bases
from pipeline.models import hub_presets
from pipeline.output import print_results

log = logging.getLogger(__name__)
DATASET_SLUG, DATASET_TITLE = "starshift-weights", "Starshift: weights of bases"
MANIFEST_PREFIX = "starshift-weights-"


def list_bases(competition: Competition) -> list[bases.Base]:
    """Returns the bases whose weights a recipe needs.

    Raises:
        StarshiftError: second moments in directions that have a name, which are on this machine only.
    """
    recipe = competition.recipe
    used = [bases.parse_base(text, recipe.size) for text in recipe.used_bases]
    for base in used:
        require(
            not base.by_moments or base.pooling == bases.SECOND_MOMENTS,
            "Directions that were learned here are not on Kaggle.",
            expected=str(replace(base, pooling=bases.SECOND_MOMENTS)),
            received=str(base),
            remedy="without their name they are learned there, from the same pictures",
        )
    return used


def list_weights(competition: Competition) -> dict[WeightsSpec, Path]:
    """Returns the weights file of each base that a recipe needs, and where it is here, or belongs.

    Raises:
        StarshiftError: two different files have one name.
    """
    specs: dict[WeightsSpec, Path] = {}
    for text, base in zip(competition.recipe.bases, list_bases(competition), strict=False):
        path = None if base.from_hub else bases.find_weights_path(base)
        if path is None:
            continue
        same_name = [other for other in specs.values() if other.name == path.name and other != path]
        require(
            not same_name,
            "Two weights files have one name, by which kernels find them.",
            expected="distinct names",
            received=[*map(str, same_name), str(path)],
        )
        sha256 = bases.compute_weights_digest(base) if path.exists() else ""
        specs[WeightsSpec(base=text, name=path.name, sha256=sha256)] = path
    return specs


def list_models(competition: Competition) -> list[str]:
    """Returns the Kaggle Models of a recipe's presets, `owner/model/framework/variation/version`, each once.

    Raises:
        StarshiftError: a preset of a folder, which is on this machine only.
    """
    handles = []
    for base in list_bases(competition):
        if not base.from_hub:
            continue
        handle = hub_presets.build_handle(base.name)
        require(
            handle,
            "A folder's preset is not on Kaggle.",
            expected="a preset by its name, such as hub:dinov2_small",
            received=base.name,
            remedy="run it here, or use a preset that Keras publishes",
        )
        handles.append(str(handle))
        if since := hub_presets.FAMILIES[base.entry.builder].since:
            log.warning("  warning: %s needs KerasHub %s; Kaggle's image may be older", base.name, since)
    return list(dict.fromkeys(handles))


def find_missing_weights(api: Any, names: Iterable[str], sources: Sequence[str]) -> list[str]:
    """Returns the weights files that no source has, each once.

    Args:
        api: from `authenticate`.
        names: of the files.
        sources: attached datasets (`owner/slug`) and models (`owner/model/framework/variation/version`).

    Raises:
        KaggleError: a source is not there, or Kaggle cannot be reached.
    """
    missing = list(dict.fromkeys(names))
    for source in sources if missing else ():
        listed = list_file_names(api, source)
        missing = [name for name in missing if name not in listed]
    return missing


def find_public_copies(api: Any, files: Mapping[str, Path]) -> dict[str, str]:
    """Finds which files a public dataset has, in the same size. Returns its `owner/slug` by the file's name."""
    copies = {}
    for name, path in files.items():
        if dataset := find_public_dataset(name):
            with contextlib.suppress(KaggleError):  # it may have gone: then it is uploaded
                if datasets.list_files(api, dataset).get(name) == path.stat().st_size:
                    copies[name] = dataset
    return copies


def find_own_dataset(api: Any, names: Iterable[str]) -> list[str]:
    """Returns the account's own dataset of weights, `[owner/slug]`, if it has any of these files once it is ready."""
    ref = datasets.resolve_ref(api, DATASET_SLUG)
    dataset = datasets.wait_until_idle(api, ref)
    is_ready = dataset is not None and dataset.status == datasets.READY
    return [ref] if is_ready and set(names) & set(datasets.list_files(api, ref)) else []


def list_file_names(api: Any, source: str) -> set[str]:
    """Returns the names of the files in a dataset, or in a model's version; of public weights without a request."""
    if source in PUBLIC_DATASETS:
        return set(PUBLIC_DATASETS[source])
    if source.count("/") == 1:
        return set(datasets.list_files(api, source))
    purpose = CallPurpose(doing=f"listing the model {source}", kind="model", name=source)
    answer = call_with_retries(
        api.model_instance_version_files, source, page_size=200, purpose=purpose, safe_to_repeat=True
    )
    return {Path(file.name).name for file in (answer.files if answer else None) or []}


def log_weights(competition: Competition) -> dict[WeightsSpec, Path]:
    """Prints which weights a recipe needs, and where they are."""
    specs = list_weights(competition)
    models = list_models(competition)
    for handle in models:
        log.info("%s, a Kaggle Model, is attached to a kernel by itself", handle)
    if not specs:
        log.info("%s needs no weights (strategy %s)", competition.name, competition.recipe.strategy)
    records = [
        {"base": spec.base, "file": spec.name, "megabytes": path.stat().st_size / 1e6 if spec.sha256 else None,
         "sha256": spec.sha256 or None, "folder": paths.format_path(path.parent),
         "public_dataset": find_public_dataset(spec.name)}
        for spec, path in specs.items()
    ]  # fmt: skip
    table = format_records(records, {
        "base": "{base}", "file": "{file}", "MB": "{megabytes:,.1f}",
        "SHA-256": lambda record: (record["sha256"] or "not here")[:16], "belongs in": "{folder}",
        "public dataset": "{public_dataset}",
    })  # fmt: skip
    print_results({"weights": records, "models": models}, table, apart=False)
    return specs


def upload_weights(competition: Competition, dataset: str | None = None, *, dry: bool = False) -> str:
    """Puts the weights that a recipe needs and Kaggle lacks into a private dataset, with those that it has already.

    Args:
        competition: whose recipe.
        dataset: `owner/slug`, or a slug; starshift-weights where it is None.
        dry: only show what would be sent; nothing is sent to Kaggle.

    Returns:
        The dataset with its version, `owner/slug/3`; without owner and version where it is dry or nothing is sent.

    Raises:
        StarshiftError: weights cannot be fetched, or see datasets.sync_files.
    """
    slug = datasets.check_dataset_name(dataset or DATASET_SLUG)
    for base in list_bases(competition):
        if not base.from_hub:
            bases.compute_weights_digest(base)  # fetches a file that is not here
    files = {path.name: path for path in list_weights(competition).values()}
    if not files:
        raise StarshiftError(
            f"{competition.name} needs no weights.", received=f"strategy {competition.recipe.strategy}"
        )
    api = None if dry else authenticate()
    for name, public in find_public_copies(api, files).items() if api else ():
        log.info("weights  %s is not sent: the public dataset %s has it", name, public)
        del files[name]
    if not files:
        return slug
    sizes = {name: path.stat().st_size / 1e6 for name, path in files.items()}
    destination = f"{'would go' if dry else 'going'} into the private dataset {slug}"
    log.info("weights  %d files, %.1f MB, %s:", len(files), sum(sizes.values()), destination)
    for name, path in files.items():
        log.info("         %s, %.1f MB, from %s", name, sizes[name], paths.format_path(path.parent))
    if dry:
        return slug
    notes = f"weights of {', '.join(sorted(files))}"
    folders = bases.list_weights_folders()
    return datasets.sync_files(api, slug, DATASET_TITLE, MANIFEST_PREFIX, files.values(), notes, folders)
