"""What is to be done elsewhere: the competition, the options, the folds and the weights of one run, as JSON.

The competition travels resolved, so that it may come from a file outside the repository. The run's fingerprint travels
with it: the run that comes home is the run that would have been made here.
"""

import json
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.files import hash_json


@dataclass(frozen=True, kw_only=True)
class WeightsSpec:
    """A base's weights file.

    Args:
        base: as the recipe names it.
        name: of the file.
        sha256: of its bytes; empty where it is not known here.
    """

    base: str
    name: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One run to be made elsewhere.

    Args:
        competition: resolved.
        folds: to train; empty trains all.
        debug: a few pictures only.
        engine: `auto` or the name of an engine.
        board: write TensorBoard's files.
        fingerprint: of the run, as it has it here.
        config: what the run's config.json says here, without the fingerprint.
        split: name and text of the file of folds, where there is one here.
        weights: what the recipe's bases need.
        commit: of the repository.
    """

    competition: Competition
    folds: tuple[int, ...] = ()
    debug: bool = False
    engine: str = "auto"
    board: bool = False
    fingerprint: str
    config: dict[str, Any]
    split: tuple[str, str] | None = None
    weights: tuple[WeightsSpec, ...] = ()
    commit: str = ""

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, as 64 hex digits."""
        return hash_json(json.loads(self.text()))


def read_job(path: Path) -> JobSpec:
    """The order in a file.

    Raises:
        StarshiftError: its competition is not the one that was ordered.
    """
    return parse_job(path.read_text(encoding="utf-8"))


def parse_job(text: str) -> JobSpec:
    """The order that `Order.text` wrote."""
    values = json.loads(text)
    values["competition"] = build_dataclass(Competition, values["competition"])
    values["weights"] = tuple(WeightsSpec(**one) for one in values["weights"])
    values["folds"] = tuple(values["folds"])
    values["split"] = tuple(values["split"]) if values["split"] else None
    order = JobSpec(**values)
    if order.digest != hash_json(json.loads(text)):
        raise StarshiftError("The order does not read back as it was written.", received=text[:300])
    return order


def build_dataclass(kind: type[Any], values: dict[str, Any]) -> Any:
    """The frozen dataclass whose `asdict` went through JSON: mappings are dataclasses again, and lists tuples."""
    hints = get_type_hints(kind)
    return kind(**{name: _build_value(hints[name], value) for name, value in values.items()})


def _build_value(hint: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return build_dataclass(
            next(one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)), value
        )
    return tuple(value) if isinstance(value, list) else value
