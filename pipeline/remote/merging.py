"""What came home put in its place: a run into data/runs, features into the cache, folds and submission where they lie.

Nothing finished is ever overwritten. Features need no translation: their keys depend on content, here as there.
"""

import io
import json
import logging
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline import paths, runs
from pipeline.dataset.shards import RowStore
from pipeline.files import read_json, write_atomic, write_json
from pipeline.remote.parcel import Parcel
from pipeline.remote.pushed import Pushed

log = logging.getLogger(__name__)


def features(found: Parcel) -> int:
    """Puts a parcel's features into the cache: rows that it lacks; those that are here stay. Returns their number."""
    rows = 0
    for name in [name for name in found.below("data/cache/features") if name.endswith("/spec.json")]:
        spec, folder = json.loads(found.read(name)), str(PurePosixPath(name).parent)
        store = RowStore(paths.cache_folder("features"), spec)
        if store.key != PurePosixPath(folder).name:
            log.warning("  warning: features %s are not what their key says, and are left out", folder)
            continue
        for sidecar in found.below(folder):
            if sidecar.endswith(".json") and sidecar != name:
                rows += _shard(found, sidecar, store)
    return rows


def _shard(found: Parcel, sidecar: str, store: RowStore) -> int:
    """Puts those rows of a parcel's shard into a store that it lacks. Returns their number."""
    content = json.loads(found.read(sidecar))
    lacking = set(store.missing([*content["ids"], *content["unreadable"]]))
    kept = [number for number, identity in enumerate(content["ids"]) if identity in lacking]
    unreadable = {identity: why for identity, why in content["unreadable"].items() if identity in lacking}
    if not lacking:
        return 0
    array = found.read(f"{sidecar.removesuffix('.json')}.npy") if kept else b""
    rows = np.load(io.BytesIO(array))[kept] if kept else np.empty(0, np.float32)
    store.append([content["ids"][n] for n in kept], rows, [content["digests"][n] for n in kept], unreadable)
    return len(kept)


def split(found: Parcel, competition: str) -> None:
    """Keeps the folds that were made there, where there are none here."""
    folder = f"data/competitions/{competition}"
    places = {name: paths.home() / name for name in found.below(folder)}
    found.extract({name: place for name, place in places.items() if not place.exists()})


def run(found: Parcel, pushed: Pushed) -> Path | None:
    """Puts the newest run of a parcel into data/runs, with kernel.json and session.log. Returns its folder.

    metrics.json is written last, as a run does it, so that one half merged does not count. An unfinished folder of this
    run is replaced; a finished one stays, and the new one lies beside it.
    """
    parent = f"data/runs/{pushed.competition}"
    folders = sorted(
        {PurePosixPath(name).parts[3] for name in found.below(parent) if len(PurePosixPath(name).parts) > 4}
    )
    if not folders:
        return None
    inside = f"{parent}/{folders[-1]}"
    folder = _place(paths.runs_folder(pushed.competition), folders[-1], pushed)
    names = [name for name in found.below(inside) if PurePosixPath(name).name != "config.json"]
    last = f"{inside}/metrics.json"
    below = {name: folder / PurePosixPath(name).relative_to(inside) for name in names}
    write_json(folder / "config.json", {**pushed.config, "fingerprint": pushed.fingerprint})
    found.extract({name: place for name, place in below.items() if name != last})
    said = {**found.words, "kernel": pushed.ref, "version": pushed.version, "url": pushed.url, "pushed": pushed.date}
    write_json(folder / "kernel.json", said)
    if f"{parent}/session.log" in found.files:
        found.extract({f"{parent}/session.log": folder / "session.log"})
    if last in found.files:
        found.extract({last: folder / "metrics.json"})
        _submissions(folder, pushed.competition)
    return folder


def _place(parent: Path, name: str, pushed: Pushed) -> Path:
    """Where the run goes: its name has the fingerprint that it has here."""
    rung = pushed.config["competition"]["recipe"]["rung"]
    stem, _, ending = name.rpartition(f"-{rung}-")
    ending = f"{rung}-{pushed.fingerprint[:8]}{'-debug' if ending.endswith('-debug') else ''}"
    number = 1
    while (folder := parent / (f"{stem}-{ending}" if number == 1 else f"{stem}.{number}-{ending}")).exists():
        same = (read_json(folder / "config.json") or {}).get("fingerprint") == pushed.fingerprint
        if same and not runs.finished(folder):
            break
        number += 1
    return folder


def _submissions(folder: Path, competition: str) -> None:
    """Puts a finished run's submission where submissions lie, as a run made here does."""
    source = folder / "submission.csv"
    if source.exists():
        for name in (f"{folder.name}.csv", "latest.csv"):
            write_atomic(paths.submissions_folder(competition) / name, lambda file: file.write(source.read_bytes()))
