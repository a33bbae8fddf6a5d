"""What is known of a picture without looking at it: size, file, compression, camera; and what can be told from that.

A class that can be told from the file alone is a leak: it says how the pictures were collected, not what they show.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TAGS = {"maker": 271, "model": 272, "orientation": 274, "software": 305, "date": 306}
"""EXIF, Exif 2.32 (CIPA DC-008), table 4."""


def fields(files: Sequence[Path]) -> pd.DataFrame:
    """A row a file; columns of numbers, or of words such as the format and the camera. Unknown is NaN or "".

    Args:
        files: pictures; of one that cannot be opened only the size of its file is known.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        table = pd.DataFrame(list(pool.map(_fields, files, chunksize=64)))
    for name in table.select_dtypes(exclude="number"):
        table[name] = table[name].fillna("").astype(str)
    return table


def _fields(path: Path) -> dict[str, Any]:
    """The fields of one file, from its header."""
    from PIL import Image

    size = path.stat().st_size
    found: dict[str, Any] = {"file bytes": size}
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            tables = getattr(picture, "quantization", None) or {}
            exif = picture.getexif()
            found |= {
                "width": width,
                "height": height,
                "aspect": width / height,
                "bytes a pixel": size / (width * height),
                "format": picture.format,
                "mode": picture.mode,
                "progressive": float(bool(picture.info.get("progressive"))),
                "colour profile": float("icc_profile" in picture.info),
                "dots an inch": float(picture.info.get("dpi", (np.nan,))[0]),
                "exif fields": len(exif),
                **{f"exif {name}": str(exif[tag]) for name, tag in TAGS.items() if tag in exif},
                **{f"jpeg table {number}": float(sum(tables[number])) for number in sorted(tables)[:2]},
            }
            if tables:
                found["jpeg sampling"] = _sampling(picture)
    except Exception:  # a header that cannot be read is a fact about the file, too
        found["format"] = "unreadable"
    return found


def _sampling(picture: Any) -> str:
    """How a JPEG thins its colours, such as 4:2:0."""
    from PIL import JpegImagePlugin

    names = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
    return names.get(JpegImagePlugin.get_sampling(picture), "other")
