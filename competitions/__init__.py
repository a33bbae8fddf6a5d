"""One file a competition. Found by name here, or by the path of a file or of a folder of pictures elsewhere."""

import hashlib
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from pipeline.config import Competition, register_competition_file
from pipeline.errors import StarshiftError, require, suggest_name
from pipeline.old_names import suggest_new_name

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """The names of the repository's competitions, as `--comp` takes them."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("[!_]*.py"))


def find(name: str | None, recipe: str | None = None) -> Competition:
    """The competition of this name, in the file of this path, or of the pictures in the folder of this path.

    Args:
        name: one of `names()`, the path of a Python file that defines COMPETITION, or a folder of class folders.
        recipe: a key of the file's RECIPES; None is the competition's own recipe.

    Raises:
        StarshiftError: no such name, file, folder or recipe, or the file defines no competition.
    """
    if is_picture_folder(name):
        require(recipe is None, "A folder of pictures has no other recipes.", expected="a competition file",
                received=f"--recipe {recipe}", remedy="without --recipe, the default recipe is used")  # fmt: skip
        found = build_from_folder(Path(str(name)))
    else:
        found = load(find_file(name), recipe)
    if name not in names():
        if found.name in names():
            ours = find(found.name)
            require(
                (found.slug, found.synthetic) == (ours.slug, ours.synthetic),
                f"{found.name} is the name of another competition.",
                expected="a name of its own, not " + " | ".join(names()),
                received=name,
                remedy="rename it" if is_picture_folder(name) else "change name= in the file",
            )
        register_competition_file(found.name, str(name))
    return found


def is_picture_folder(name: str | None) -> bool:
    """Whether `find` takes this name for a folder of pictures."""
    return bool(name) and name not in names() and Path(str(name)).expanduser().is_dir()


def build_from_folder(folder: Path) -> Competition:
    """The competition of pictures in class folders, with the default recipe; named after the folder."""
    folder = folder.expanduser().resolve()
    name = re.sub("[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    if not name:  # a folder named in another script
        name = f"pictures-{hashlib.sha256(folder.name.encode()).hexdigest()[:6]}"
    return Competition(name=name, data=str(folder), metric="accuracy")


def find_file(name: str | None) -> Path:
    """The file of a competition, see `find`."""
    if name in names():
        return FOLDER / f"{str(name).replace('-', '_')}.py"
    if name and (name.endswith(".py") or "/" in name):
        return Path(name).expanduser()
    raise StarshiftError(
        "No competition was named." if not name else f"There is no competition called {name!r}.",
        expected=", ".join(names()) + ", a folder of class folders, or the path of a competition file",
        received=repr(name),
        remedy=suggest_name(name, names()) or "invoke comps shows each with its metric and where its data stands",
    )


def load(path: Path, recipe: str | None = None) -> Competition:
    """The COMPETITION that a file defines; its relative `data` folder is taken from the file's own folder.

    Args:
        path: of the file.
        recipe: a key of the file's RECIPES.
    """
    module = _run_file(path)
    competition = getattr(module, "COMPETITION", None)
    if not isinstance(competition, Competition):
        raise StarshiftError(
            f"{path} defines no competition.",
            expected="COMPETITION = Competition(...)",
            received=type(competition).__name__,
            remedy="compare it with competitions/dog_breed.py",
        )
    from pipeline.evaluation.metrics import find_metric  # imports NumPy, which `invoke --list` has no time for

    try:
        find_metric(competition.metric)
    except StarshiftError as error:
        raise StarshiftError(f"{path}: {error}") from error
    if recipe is not None:
        recipes = getattr(module, "RECIPES", {})
        if recipe not in recipes:
            raise StarshiftError(
                f"{path} has no recipe {recipe!r}.",
                expected=" | ".join(recipes) or "RECIPES, a table of recipes by name, in the file",
                received=f"--recipe {recipe}",
                remedy=suggest_name(recipe, recipes) or "without --recipe, the competition's own is used",
            )
        competition = replace(competition, recipe=recipes[recipe])
    if competition.data is not None:
        folder = (path.resolve().parent / Path(competition.data).expanduser()).resolve()
        competition = replace(competition, data=str(folder))
    return competition


def list_recipes(name: str | None) -> list[str]:
    """The names of the other recipes in the file of a competition."""
    return [] if is_picture_folder(name) else list(getattr(_run_file(find_file(name)), "RECIPES", {}))


def _run_file(path: Path) -> ModuleType:
    """Runs a competition's file as a module."""
    if not path.is_file():
        raise StarshiftError(
            f"There is no competition file {path}.",
            expected="a Python file that defines COMPETITION, or a folder of class folders",
            remedy=suggest_name(path, map(str, path.parent.glob("*.py"))),
        )
    spec = importlib.util.spec_from_file_location(f"competition_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StarshiftError(f"{path} is no Python file.", expected="a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except StarshiftError as error:
        raise StarshiftError(f"{path}: {error}") from error
    except Exception as error:
        raise StarshiftError(
            f"{path} does not run as Python.",
            received=f"{type(error).__name__}: {error}",
            remedy=suggest_new_name(str(error)) or "compare it with competitions/dog_breed.py",
        ) from error
    return module
