"""Finding and measuring pictures: the folders of the parts, the pictures below them by id, their digests and sizes."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from pipeline.config import Labels
from pipeline.dataset import images
from pipeline.dataset.tables import locate
from pipeline.files import read_json, sha256_of_file, write_json

COLUMNS = ["id", "path", "label", "fold", "group", "width", "height", "sha256"]
NOT_PICTURES = {".txt", ".csv", ".db", ".json", ".md", ".html", ".ini", ".xml", ".py", ".zip", ".7z"}


def natural(text: str) -> list[tuple[int, int | str]]:
    """A sort key by which 2 comes before 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]


def some(names: Iterable[str]) -> str:
    """The first few names."""
    listed = list(names)
    return ", ".join(listed[:4]) + (", ..." if len(listed) > 4 else "")


def listing(folder: Path | None, suffix: str) -> dict[str, Path]:
    """The pictures below a folder by id: the path below it, without the suffix; hidden and text files left out."""
    if folder is None:
        return {}
    found, seen = {}, {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        real = {
            name: os.path.realpath(os.path.join(root, name)) for name in folders if name[0] != "." and name[:2] != "__"
        }
        folders[:] = [name for name, place in real.items() if place not in seen]  # a link may lead in a circle
        seen.update(real.values())
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() not in NOT_PICTURES and os.path.isfile(path):
                found[path.relative_to(folder).as_posix().removesuffix(suffix)] = path
    return {identity: found[identity] for identity in sorted(found, key=natural)}


def parts(labels: Labels, raw: Path) -> tuple[Path | None, Path | None]:
    """The folders of training and of test pictures. A class may be called `test` or `train`: neither is a part."""
    train = folder_of(raw, labels.folder)
    test = folder_of(raw, labels.test) if labels.test else None
    if labels.kind == "folders":
        if train is None or not any(path.is_dir() for path in train.iterdir()):
            train = raw
            if test is not None and test.parts[: len(raw.parts) + 1] != (*raw.parts, test.name):
                test = None  # of a class: only what lies beside the classes is a part
        if test is not None and train != raw and train in test.parents:
            test = None
    return train, test


def folder_of(raw: Path, name: str) -> Path | None:
    """The folder of this name; archives sometimes hold it twice (train/train/1.jpg)."""
    folder = locate(raw, name)
    if folder is None or not folder.is_dir():
        return None
    inner = folder / name
    return (
        inner
        if inner.is_dir() and set(listing(folder, "")) == {f"{name}/{below}" for below in listing(inner, "")}
        else folder
    )


def measured(rows: list[tuple[str, Path | None, str | None]], raw: Path, memory: Path) -> pd.DataFrame:
    """The table with digests and dimensions, which are remembered by path, size and time of change."""
    known = read_json(memory)
    known = known if isinstance(known, dict) else {}

    def measure(path: Path | None) -> tuple[str, list] | None:
        if path is None:
            return None
        status = path.stat()
        key = f"{path.relative_to(raw).as_posix()} {status.st_size} {status.st_mtime_ns}"
        if key in known:
            return key, known[key]
        try:
            width, height = images.dimensions(path)
        except images.Unreadable:
            width, height = 0, 0
        return key, [sha256_of_file(path), width, height]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(pool.map(measure, [path for _, path, _ in rows], chunksize=64))
    fresh = dict(entry for entry in measured if entry is not None)
    if fresh.keys() - known.keys():
        write_json(memory, {**known, **fresh})
    records = []
    for (identity, path, label), entry in zip(rows, measured, strict=True):
        digest, width, height = entry[1] if entry else ("", 0, 0)
        relative = path.relative_to(raw).as_posix() if path else ""
        records.append((identity, relative, label, -1, identity, width, height, digest))
    return pd.DataFrame(records, columns=COLUMNS)
