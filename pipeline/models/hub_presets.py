"""Finds presets of KerasHub by name or folder, and describes them without importing it.

A preset is a folder: config.json, weights, and mostly image_converter.json. A named one is a Kaggle Model: it lies in
kagglehub's cache or, inside a kernel, in its mounts; its record here needs no file.
"""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError, suggest_name
from pipeline.files import hash_json
from pipeline.kaggle import inputs
from pipeline.models.registry import BaseInfo
from pipeline.subprocesses import run_command

PREFIX = "hub:"
INSTALL_COMMAND = "pip install --no-deps -r requirements-hub.txt"
"""Without --no-deps, tensorflow-text brings a second TensorFlow; pictures do not need it."""
CONFIG, CONVERTER, WEIGHTS = "config.json", "image_converter.json", "model.weights.h5"
WEIGHTS_PATTERN = "model*.weights.h5"
"""One file, or several where the weights exceed 10 GB."""
SUFFIX = re.compile(
    r"(:(?P<size>\d+))?(@(?P<cut>[^@+=/\\]+))?(\+(?P<pooling>cls\+avg|[^@+=/\\]+))?"
    r"(=(?P<weights>(imagenet|none)(:\d+)?))?"
)


@dataclass(frozen=True)
class HubFamily:
    """Presets of one architecture.

    Args:
        folder: its part of the presets' addresses at Kaggle.
        normalization: of pixels, `tf` or `torch` as in BaseInfo, where a preset's folder has no image_converter.json.
        licence: of the weights that Keras publishes.
        class_token: see BaseInfo.
        tokens: see BaseInfo.
        same_terms: see BaseInfo.
        openvino: see BaseInfo.
        since: the first version of KerasHub that has it, if not the first that is supported.
    """

    folder: str
    normalization: str
    licence: str
    class_token: str = ""
    tokens: bool = True
    same_terms: bool = False
    openvino: bool = True
    since: str = ""


FAMILIES = {
    "DINOV2Backbone": HubFamily("dinov2", "torch", "Apache-2.0", "learned"),
    # https://ai.meta.com/resources/models-and-libraries/dinov3-license: derivatives only under the same terms.
    "DINOV3Backbone": HubFamily("dinov3", "torch", "DINOv3 License", "learned", same_terms=True),
    "ViTBackbone": HubFamily("vit", "tf", "Apache-2.0", "learned"),
    "SigLIPBackbone": HubFamily("siglip", "tf", "Apache-2.0", "pooled"),
    # OpenVINO 2026.4 derives wrong shapes of its windows.
    "SwinTransformerBackbone": HubFamily("swin-transformer", "torch", "MIT", openvino=False, since="0.29.1"),
    "HGNetV2Backbone": HubFamily("hgnetv2", "torch", "Apache-2.0", tokens=False),
}
"""By the class in config.json. Licences: those of the weights' authors, as KerasHub's model cards name them."""
PRESETS = {
    "DINOV2Backbone": "dinov2_small/1 dinov2_base/1 dinov2_large/1 dinov2_giant/1 dinov2_with_registers_small/1 "
    "dinov2_with_registers_base/1 dinov2_with_registers_large/1 dinov2_with_registers_giant/1",
    "DINOV3Backbone": "dinov3_vit_small_lvd1689m/1 dinov3_vit_small_plus_lvd1689m/1 dinov3_vit_base_lvd1689m/1 "
    "dinov3_vit_large_lvd1689m/1 dinov3_vit_huge_plus_lvd1689m/1 dinov3_vit_large_sat493m/1",
    "ViTBackbone": "vit_base_patch16_224_imagenet/4 vit_base_patch16_384_imagenet/4 vit_large_patch16_224_imagenet/4 "
    "vit_large_patch16_384_imagenet/4 vit_base_patch32_384_imagenet/3 vit_base_patch16_224_imagenet21k/3 "
    "vit_base_patch32_224_imagenet21k/3 vit_huge_patch14_224_imagenet21k/3 vit_large_patch16_224_imagenet21k/3 "
    "vit_large_patch32_224_imagenet21k/3",
    "SigLIPBackbone": "siglip_base_patch16_224/1 siglip_base_patch16_256/1 siglip_base_patch16_384/1 "
    "siglip_base_patch16_512/1 siglip_large_patch16_256/1 siglip_large_patch16_384/1 siglip_so400m_patch14_224/1 "
    "siglip_so400m_patch14_384/1 siglip2_base_patch16_224/1 siglip2_base_patch16_256/1 siglip2_base_patch32_256/1 "
    "siglip2_base_patch16_384/1 siglip2_large_patch16_256/1 siglip2_large_patch16_384/1 siglip2_large_patch16_512/1 "
    "siglip2_giant_opt_patch16_256/2 siglip2_giant_opt_patch16_384/1 siglip2_so400m_patch14_224/1 "
    "siglip2_so400m_patch14_384/1 siglip2_so400m_patch16_256/1 siglip2_so400m_patch16_384/1 "
    "siglip2_so400m_patch16_512/1",
    "SwinTransformerBackbone": "swin_tiny_patch4_window7_224/1 swin_small_patch4_window7_224/1 "
    "swin_base_patch4_window7_224/1 swin_base_patch4_window12_384/1 swin_large_patch4_window7_224/1 "
    "swin_large_patch4_window12_384/1",
    "HGNetV2Backbone": "hgnetv2_b4_ssld_stage2_ft_in1k/1 hgnetv2_b5_ssld_stage1_in22k_in1k/1 "
    "hgnetv2_b5_ssld_stage2_ft_in1k/1 hgnetv2_b6_ssld_stage1_in22k_in1k/1 hgnetv2_b6_ssld_stage2_ft_in1k/1",
}
"""Names and versions at Kaggle, as in KerasHub 0.29.1. Their names tell blocks and sizes, see describe_preset."""
VERSIONS = {
    name: version for texts in PRESETS.values() for name, version in (text.split("/") for text in texts.split())
}
BLOCKS = {"small": 12, "base": 12, "large": 24, "huge": 32, "giant": 40, "so400m": 27}
SWIN_BLOCKS = {"tiny": 12, "small": 24, "base": 24, "large": 24}
HGNET_STAGES = 4
DEFAULT_SIZE = 224
"""Where the name has none. DINOv2's positions are of 518 px and are interpolated: 224 is what its authors evaluate at
(Oquab et al. 2023, arXiv 2304.07193), and 518 px are five times as many tokens."""


def match_suffix(text: str) -> re.Match[str]:
    """Matches what follows the name of a base `hub:NAME[:size][@cut][+pooling][=weights]`, which ends where it starts.

    A folder may contain `@`, `+` and `=`: the longest name that is a folder wins, else the shortest one.
    """
    matches = [one for end in range(len(text), len(PREFIX) - 1, -1) if (one := SUFFIX.fullmatch(text, end))]
    named = (one for one in matches if Path(text[len(PREFIX) : one.start()]).expanduser().is_dir())
    return next(named, matches[-1])


def find_family(preset: str) -> str | None:
    """Returns the class of a named preset; None where there is none of the name."""
    return next((family for family, texts in PRESETS.items() if preset in re.split("[ /]", texts)), None)


def build_handle(name: str) -> str | None:
    """Returns the Kaggle Model of a base, `owner/model/framework/variation/version`; None for a folder."""
    preset = name.removeprefix(PREFIX)
    family = find_family(preset)
    return f"keras/{FAMILIES[family].folder}/keras/{preset}/{VERSIONS[preset]}" if family else None


@cache
def describe_preset(name: str) -> BaseInfo:
    """Describes a base `hub:PRESET` or `hub:FOLDER`.

    Raises:
        StarshiftError: there is no such preset, or its folder is damaged or of another architecture.
    """
    preset = name.removeprefix(PREFIX)
    if (family := find_family(preset)) is not None:
        registers = 4 if family == "DINOV3Backbone" or "registers" in preset else 0
        size = re.search(r"_(\d{3})(?=_|$)", preset)
        blocks = SWIN_BLOCKS if family.startswith("Swin") else BLOCKS
        count = next((count for kind, count in blocks.items() if f"_{kind}" in preset), HGNET_STAGES)
        return _build_info(family, int(size[1]) if size else DEFAULT_SIZE, count, registers)
    folder = find_preset_folder(name)
    try:
        return _describe_config(read_config(folder))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise build_damage_error(folder, f"{CONFIG} without {error}") from error


def _describe_config(config: Mapping[str, Any]) -> BaseInfo:
    """Describes a preset's folder by its config.json."""
    family = config["class_name"]
    values = config["config"]["vision_encoder"]["config"] if family == "SigLIPBackbone" else config["config"]
    depth = {"SwinTransformerBackbone": "depths", "HGNetV2Backbone": "stackwise_stage_filters"}.get(family)
    count = values["num_layers"] if depth is None else sum(values[depth]) if depth == "depths" else len(values[depth])
    info = _build_info(family, values["image_shape"][0] or DEFAULT_SIZE, count, values.get("num_register_tokens", 0))
    return info if values.get("use_class_token", True) else replace(info, class_token="")


def _build_info(family: str, size: int, blocks: int, registers: int) -> BaseInfo:
    about = FAMILIES[family]
    part = "block" if about.tokens else "stage"
    return BaseInfo(
        family, "none", 0, tuple(f"{part}{number}" for number in range(1, blocks + 1)), WEIGHTS, size, (size,),
        licence=about.licence, same_terms=about.same_terms, tokens=about.tokens, class_token=about.class_token,
        openvino=about.openvino,
        registers=registers,
    )  # fmt: skip


def list_places(name: str) -> list[Path]:
    """Lists where the folder of a preset may be: itself, or a kernel's mounts and then kagglehub's cache."""
    handle, preset = build_handle(name), name.removeprefix(PREFIX)
    if handle is None:
        return [Path(preset).expanduser()]
    mounted = [paths.kaggle_folder("input") / "models" / handle] if paths.is_inside_kernel() else []
    if mounted and not mounted[0].is_dir():  # the older layout; searching all mounts takes long
        mounted += [folder / VERSIONS[preset] for folder in inputs.find_folders(preset)]
    hub_cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    return [*mounted, hub_cache / "models" / handle]


def find_preset_folder(name: str) -> Path:
    """Returns the folder of a preset; of a named one that is not here, where kagglehub would put it."""
    places = list_places(name)
    return next((place for place in places if (place / CONFIG).is_file()), places[-1])


def find_weights_file(name: str) -> Path:
    """Returns the path of a preset's weights, the first of several files; it may not exist."""
    folder = find_preset_folder(name)
    return next(iter(sorted(folder.glob(WEIGHTS_PATTERN))), folder / WEIGHTS)


def read_config(folder: Path) -> dict[str, Any]:
    """Reads a preset's config.json.

    Raises:
        StarshiftError: it is missing or damaged, or of an architecture that is not supported.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        family = config["class_name"]
        if family in FAMILIES and isinstance(config["config"], dict):
            return dict(config)
        reason = f"a {family}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing = "no such folder" if not folder.is_dir() else f"no {CONFIG} in it"
        reason = missing if isinstance(error, OSError) else f"{CONFIG} cannot be read ({type(error).__name__}: {error})"
    raise build_damage_error(folder, reason)


def build_damage_error(folder: Path, reason: str) -> StarshiftError:
    """Returns the error of a folder that is no preset, or a damaged one."""
    return StarshiftError(
        f"{folder} is no preset of a picture network, or a damaged one.",
        expected=f"a name such as dinov2_small, or a folder with {CONFIG} and {WEIGHTS} of a {', '.join(FAMILIES)}",
        received=reason,
        remedy=suggest_name(folder, VERSIONS) or "save it with save_to_preset of KerasHub, or download it again",
    )


def compute_preset_digest(name: str, hashes: Mapping[str, str]) -> str:
    """Returns a digest over a preset's configuration and weights; the folder's path is no part of it.

    Args:
        name: of the base.
        hashes: SHA-256 of each weights file, by name.
    """
    return hash_json({"config": _read_texts(find_preset_folder(name)), "weights": dict(hashes)})


def compute_identity(name: str) -> str:
    """Returns what caches call a base: a named preset by its name, a folder by its configuration, never by its path."""
    if build_handle(name):
        return name
    folder = find_preset_folder(name)
    return f"{PREFIX}{read_config(folder)['class_name']}:{hash_json(_read_texts(folder))[:16]}"


def _read_texts(folder: Path) -> dict[str, str]:
    """Reads the files that say how a preset is built and how it takes pixels."""
    files = [folder / file for file in (CONFIG, CONVERTER) if (folder / file).is_file()]
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def fetch_preset(name: str, path: Path) -> None:
    """Downloads a named preset with kagglehub, in a subprocess; inside a kernel it must be attached.

    Args:
        name: of the base.
        path: of the weights file, which is missing.

    Raises:
        StarshiftError: it could not be downloaded; says where it was looked for and where to put it.
    """
    handle, reason = build_handle(name), "not attached"
    if handle and not paths.is_inside_kernel():
        command = [sys.executable, "-c", f"import kagglehub; kagglehub.model_download({handle!r})"]
        process = run_command(command, paths.build_child_environment())
        reason = (process.stderr.strip().splitlines() or ["nothing"])[-1][-300:]
    if find_weights_file(name).exists():
        return
    places = ", ".join(map(str, list_places(name)))
    raise StarshiftError(
        f"The preset {name} is not here.",
        expected=f"{CONFIG} and {WEIGHTS} in one of: {places}",
        received=reason if handle else f"no {path.name} in it",
        remedy=f"download https://www.kaggle.com/models/{handle} and unpack it into {path.parent}, or attach it to the "
        f"kernel, or name its folder: {PREFIX}FOLDER"
        if handle
        else "save it again with save_to_preset of KerasHub",
    )


def require_keras_hub() -> None:
    """Raises a StarshiftError where KerasHub is not installed."""
    if importlib.util.find_spec("keras_hub") is None:
        raise StarshiftError(
            f"Bases named {PREFIX}... need KerasHub.",
            expected="the package keras-hub",
            received="it is not installed",
            remedy=INSTALL_COMMAND,
        )
