"""The filter by meaning: which learnwares know the classes that are asked for."""

import re
from collections.abc import Sequence

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
