"""How far a run is, and how fast, read from what lies in its home: no word is needed from the process that runs."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.files import read_json

SHARDS = 3
"""A rate needs as many: the first shard's time also holds what came before it."""


def words(home: Path, competition: str) -> str:
    """How far a run is: rows in the caches, folds and epochs done."""
    rows = {kind: sum(len(shard["ids"]) for _, _, shard in _shards(home, kind)) for kind in ("pixels", "features")}
    said = [f"{rows['pixels']:,} pictures decoded", f"{rows['features']:,} rows of features"]
    folds = list((home / "data" / "runs" / competition).glob("*/folds/*.json"))
    done = [path for path in folds if path.suffixes == [".json"]]
    if folds:
        said.append(f"{len(done)} folds done")
    return ", ".join(said)


def rates(home: Path) -> dict[str, float]:
    """Pictures a second of each store with several shards, by `pixels SIZE` or `BASE[@CUT] SIZE`.

    From the times at which the shards were written; a store that a session before had begun is left out.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for kind in ("pixels", "features"):
        stores: dict[Path, list[tuple[float, int]]] = defaultdict(list)
        for folder, written, shard in _shards(home, kind):
            stores[folder].append((written, len(shard["ids"])))
        for folder, shards in stores.items():
            shards.sort()
            seconds = shards[-1][0] - shards[0][0]
            if len(shards) >= SHARDS and seconds > 0:
                name = store_name(read_json(folder / "spec.json") or {})
                found[name].append(sum(rows for _, rows in shards[1:]) / seconds)
    return {name: round(max(several), 1) for name, several in found.items()}


def store_name(spec: dict[str, Any]) -> str:
    """The name of a store's rate."""
    if spec.get("kind") == "pixels":
        return f"pixels {spec['size']}"
    return f"{spec.get('base')}{'@' + spec['cut'] if spec.get('cut') else ''} {spec.get('size')}"


def _shards(home: Path, kind: str) -> Iterator[tuple[Path, float, dict[str, Any]]]:
    """The folder, the time and the sidecar of each shard."""
    for path in sorted((home / "data" / "cache" / kind).glob("*/*.json")):
        if path.name == "spec.json":
            continue
        try:
            yield path.parent, path.stat().st_mtime, json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
