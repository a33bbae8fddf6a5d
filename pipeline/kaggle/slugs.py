"""Checks names of things on Kaggle before a push: a wrong one would fail the session only after it."""

import re
from collections.abc import Iterable

from pipeline.errors import StarshiftError, require

DATASET_FORM, MODEL_FORM = "owner/slug", "owner/model/framework/variation/version"
ATTACHMENT_FORMS = f"{DATASET_FORM} for a dataset, without a version (its newest is taken), or {MODEL_FORM} for a model"
ALLOWED_CHARACTERS = "letters, digits, - and _ in each part"
PART_PATTERN = "[A-Za-z0-9_-]+"
NAME_FORMS = {
    "competition": ("a slug", PART_PATTERN),
    "dataset": (ATTACHMENT_FORMS, f"{PART_PATTERN}/{PART_PATTERN}"),
    # five characters: as the client wants
    "kernel": (f"{DATASET_FORM}, the slug of five characters or more", f"{PART_PATTERN}/[A-Za-z0-9_-]{{5,}}"),
    "model": (ATTACHMENT_FORMS, f"({PART_PATTERN}/){{4}}[1-9][0-9]*"),
}
FRAMEWORKS = (
    *("tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "pyTorch", "jax", "flax", "pax", "maxText", "gemmaCpp", "ggml"),
    *("gguf", "coral", "scikitLearn", "mxnet", "onnx", "keras", "transformers", "api", "other", "tensorRtLlm"),
    *("triton", "vllm"),
)
"""Of models: ModelFramework in kagglesdk 0.1.38."""
PAGE_PREFIXES = {"datasets", "d", "models", "code", "notebooks", "competitions", "c"}
"""Words before a name in the address of its page; nobody's account."""
FILLER_WORDS = {"frameworks", "variations", "versions", "version"}
"""Words between the parts of a name in older addresses."""
ADDRESS_PATTERN = re.compile(r"(https?://)?(www\.)?kaggle\.com/|kaggle://", re.IGNORECASE)


def check_names(kind: str, names: Iterable[str]) -> list[str]:
    """Returns the names of things of one kind, each once.

    Args:
        kind: a key of NAME_FORMS.
        names: what is to be attached to a kernel.

    Raises:
        StarshiftError: Kaggle knows no such names.
    """
    form, pattern = NAME_FORMS[kind]
    unique: dict[str, str] = {}
    for name in names:
        if not re.fullmatch(pattern, name) or name.split("/")[0].lower() in PAGE_PREFIXES:
            suggestion = find_name(name) if form is ATTACHMENT_FORMS else ""
            raise StarshiftError(
                f"This names no {kind} on Kaggle.",
                expected=f"{form}; {ALLOWED_CHARACTERS}",
                received=repr(name),
                remedy=f"--attach {suggestion}" if suggestion else "",
            )
        require(
            kind != "model" or name.split("/")[2].lower() in map(str.lower, FRAMEWORKS),
            "Kaggle has no models of this framework.",
            expected=f"{MODEL_FORM}, the framework one of {', '.join(FRAMEWORKS)}",
            received=name,
        )
        unique.setdefault(name.lower(), name)
    return list(unique.values())


def split_attachments(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Splits the names of `--attach` into datasets and models, by the number of parts."""
    models = [name for name in names if name.count("/") == MODEL_FORM.count("/")]
    return [name for name in names if name not in models], models


def strip_version(dataset: str) -> str:
    """Returns `owner/slug` of a dataset."""
    return "/".join(dataset.split("/")[:2])


def find_name(name: str) -> str:
    """Finds the name in the address of a page, or in one with a version or blanks; empty where there is none."""
    text = re.split("[?#]", ADDRESS_PATTERN.sub("", name.strip(), count=1))[0]
    parts = [part.strip() for part in text.split("/") if part.strip()]
    place = parts.pop(0).lower() if parts and parts[0].lower() in PAGE_PREFIXES else ""
    parts = [part for part in parts if part not in FILLER_WORDS]
    kind = "dataset" if place in ("datasets", "d") or (not place and len(parts) in (2, 3)) else "model"
    if place not in ("", "datasets", "d", "models"):
        return ""
    suggestion = "/".join(parts[:2] if kind == "dataset" else parts[:5])
    return suggestion if re.fullmatch(NAME_FORMS[kind][1], suggestion) else ""
