"""The filter by meaning: which learnwares know the classes that are asked for."""

import re
from collections.abc import Sequence

from pipeline.errors import StarshiftError
from pipeline.learnware.terms import Specification


def plain(name: str) -> str:
    """A class name as it is compared: `Golden_Retriever` and `golden retriever` are one."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def filtered(
    specifications: Sequence[Specification], classes: Sequence[str]
) -> tuple[list[Specification], dict[str, str]]:
    """Those that know every class of these names, and why the others are left out, by name."""
    kept, left = [], {}
    for one in specifications:
        known = {plain(name) for name in one.semantic.classes}
        lacking = [name for name in classes if plain(name) not in known]
        if lacking:
            left[one.semantic.name] = f"does not know {', '.join(lacking)}"
        else:
            kept.append(one)
    return kept, left


def columns(name: str, known: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where a learnware's answers have the classes of a task.

    Args:
        name: of the learnware.
        known: its classes, in the order of its answers.
        wanted: the task's.

    Returns:
        Places in `known`, in the order of `wanted`; a class of the very name before one that only reads the same.

    Raises:
        StarshiftError: it does not know all of them, or one of its classes stands for two.
    """
    read_as = {plain(one): place for place, one in reversed(list(enumerate(known)))}
    exact = {one: place for place, one in enumerate(known)}
    places = [exact.get(one, read_as.get(plain(one))) for one in wanted]
    found = [place for place in places if place is not None]
    if len(found) < len(wanted):
        lacking = [one for one, place in zip(wanted, places, strict=True) if place is None]
        raise StarshiftError(
            f"The learnware {name} does not know {len(lacking)} of the {len(wanted)} classes.",
            expected=", ".join(wanted[:10]),
            received=f"{len(known)} classes, without {', '.join(lacking[:10])}",
            remedy="invoke store.search --images FOLDER --classes A,B lists those that know them",
        )
    twice = [one for one, place in zip(wanted, found, strict=True) if found.count(place) > 1]
    if twice:
        raise StarshiftError(
            f"The learnware {name} has one class for several of the task.",
            expected="classes that differ in more than case and signs",
            received=", ".join(twice[:10]),
        )
    return found
