"""Generated data sets as people have them: each is checked and run, and ends right or in a clear error.

    python -m benchmarks.odd_data --sets 300 --seed 0

Layouts (class folders, a table, file names), names (blanks, accents, control characters, long), pictures (formats,
modes, damaged ones), junk and tables (separators, packed, ids with blanks or without an ending) are drawn. `right`
means that every class has the pictures that were drawn, or a warning counts those that are missing, and that the
submission, read back, has the test pictures. `clear` is a StarshiftError. Anything else is `wrong`, and is printed with
the number of its set.
"""

import argparse
import csv
import gzip
import io
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import Competition, Labels, Recipe, RunOptions, Submission
from pipeline.data.proposal import propose_competition
from pipeline.data.tables import read_csv_as_text
from pipeline.errors import StarshiftError
from pipeline.workflow import run as flow
from pipeline.workflow.prepare import check_competition

RECIPE = Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=2)
CLASS_NAMES = ["cat", "Dog", "__background__", "a b", "é", "e\u0301x", "训练", "=cmd()", "-rf", "a.b", "'q'", "x" * 50,
               "N-A", "0", "1.5", "None", "nan", "label", "class 1", "\u202eabc"]  # fmt: skip
FILE_NAMES = ["p{n}", "IMG_{n:04}", "a b {n}", "é{n}", "{n}", "x{n}.v2", "'{n}'", "#{n}", "{n}%20", "long" * 20 + "{n}"]
KINDS = [*["JPEG"] * 8, "PNG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "CMYK", "RGBA", "P", "L", "16", "1", "bad"]
MODES = {"CMYK": ("CMYK", "JPEG"), "RGBA": ("RGBA", "PNG"), "P": ("P", "PNG"), "L": ("L", "JPEG"), "1": ("1", "PNG")}
JUNK = [
    ".DS_Store",
    "Thumbs.db",
    "._x.jpg",
    "@eaDir/x.jpg",
    "__MACOSX/x",
    "notes.txt",
    "desktop.ini",
    ".ipynb_checkpoints/x.py",
]


@dataclass
class Planted:
    """What was drawn: pictures by class, tests, and the competition.

    Args:
        folder: of the data.
        labels: where they are.
        classes: files that should be pictures of a class, by class.
        tests: ids of the test pictures.
        submission: whether there is a sample submission.
    """

    folder: Path
    labels: Labels
    classes: Counter[str] = field(default_factory=Counter)
    tests: list[str] = field(default_factory=list)
    submission: Submission | None = None


def draw_picture(random_: random.Random, number: int) -> tuple[str, bytes]:
    """Draws a picture file in any format. Returns its suffix and bytes."""
    generator = np.random.default_rng(number)
    height, width = random_.choice([(33, 40), (40, 33), (64, 64), (20, 30), (200, 40)])
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([128 + 60 * np.sin(x / generator.uniform(3, 9)) + 40 * np.cos(y / generator.uniform(3, 9))
                       for _ in range(3)], axis=2)  # fmt: skip
    picture = Image.fromarray(np.clip(pixels + generator.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8))
    kind = random_.choice(
        ["JPEG"] * 8 + ["PNG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "CMYK", "RGBA", "P", "L", "16", "1", "bad"]
    )
    if kind == "bad":
        return ".jpg", random_.choice([b"", b"<html>", b"\xff\xd8\xff broken", os.urandom(50)])
    modes = {
        "CMYK": ("CMYK", "JPEG"),
        "RGBA": ("RGBA", "PNG"),
        "P": ("P", "PNG"),
        "L": ("L", "JPEG"),
        "1": ("1", "PNG"),
    }
    mode, form = modes.get(kind, ("RGB", "PNG" if kind == "16" else kind))
    picture = picture.convert(mode)
    if kind == "16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    file = io.BytesIO()
    picture.save(file, form)
    suffix = {"JPEG": random_.choice([".jpg", ".JPG", ".jpeg"]), "TIFF": ".tif"}.get(form, f".{form.lower()}")
    return suffix, file.getvalue()


def draw_data(folder: Path, seed: int) -> Planted:
    """Draws one data set into a folder."""
    chance = random.Random(seed)
    layout = chance.choice(["folders", "csv", "pattern"])
    names = chance.sample(CLASS_NAMES, chance.randint(2, 4))
    if layout == "pattern":
        names = chance.sample(["cat", "dog", "rat", "pug"], 2)
    planted = {"folders": draw_folders, "csv": draw_table, "pattern": draw_names}[layout](folder, names, chance, seed)
    for name in chance.sample(JUNK, chance.randint(0, 3)):
        path = folder / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk")
    return planted


def put(path: Path, data: bytes) -> bool:
    """Writes a file unless it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    path.write_bytes(data)
    return True


def draw_tests(planted: Planted, chance: random.Random, seed: int, classes: list[str]) -> None:
    """Draws test pictures, and a sample submission for them in some of the sets."""
    for number in range(chance.randint(0, 4)):
        suffix, data = draw_picture(chance, 7_000_000 + 1000 * seed + number)
        name = chance.choice(FILE_NAMES).format(n=number) + suffix
        if put(planted.folder / "test" / name, data):
            planted.tests.append(name)
    if planted.tests and chance.random() < 0.6:
        layout = chance.choice(["one column per class", "class name"])
        header = ["id", *sorted(classes)] if layout == "one column per class" else ["id", "label"]
        rows = [[name, *(["0.5"] * len(classes) if layout == "one column per class" else [classes[0]])]
                for name in planted.tests]  # fmt: skip
        write_table(planted.folder / "sample_submission.csv", [header, *rows], ",")
        planted.submission = Submission(layout=layout)


def draw_folders(folder: Path, names: list[str], chance: random.Random, seed: int) -> Planted:
    """Draws class folders, below train/."""
    planted = Planted(folder, Labels())
    for place, name in enumerate(names):
        for number in range(chance.randint(3, 8)):
            suffix, data = draw_picture(chance, 1000 * seed + 50 * place + number)
            if put(folder / "train" / name / (chance.choice(FILE_NAMES).format(n=number) + suffix), data):
                planted.classes[name] += 1
    draw_tests(planted, chance, seed, names)
    return planted


def draw_names(folder: Path, names: list[str], chance: random.Random, seed: int) -> Planted:
    """Draws labels in file names."""
    planted = Planted(folder, Labels(pattern=r"(?P<label>[a-z]+)\.\d+\.\w+"))
    for place, name in enumerate(names):
        for number in range(chance.randint(3, 8)):
            suffix, data = draw_picture(chance, 1000 * seed + 50 * place + number)
            planted.classes[name] += put(folder / "train" / f"{name}.{number}{suffix}", data)
    draw_tests(planted, chance, seed, names)
    return planted


def draw_table(folder: Path, names: list[str], chance: random.Random, seed: int) -> Planted:
    """Draws a table of labels, packed or not, with any separator, whose ids may differ from the files."""
    change = chance.choice([lambda file: file, lambda file: file.rpartition(".")[0], lambda file: f" {file}"])
    rows, planted = [["id", "label"]], Planted(folder, Labels(csv="labels.csv"))
    for place, name in enumerate(names):
        for number in range(chance.randint(3, 8)):
            suffix, data = draw_picture(chance, 1000 * seed + 50 * place + number)
            file = f"{place}_" + chance.choice(FILE_NAMES).format(n=number) + suffix
            if put(folder / "train" / file, data):
                planted.classes[name] += 1
                rows.append([change(file), name])
    write_table(folder / "labels.csv", rows, chance.choice([",", ",", ";", "\t"]), packed=chance.random() < 0.2)
    draw_tests(planted, chance, seed, names)
    return planted


def write_table(path: Path, rows: list[list[str]], separator: str, *, packed: bool = False) -> None:
    """Writes a CSV file, with gzip if asked."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    data = text.getvalue().encode()
    put(path.with_name(f"{path.name}.gz") if packed else path, gzip.compress(data) if packed else data)


def try_one(place: Path, seed: int) -> tuple[str, str]:
    """Checks and runs one data set. Returns right, clear or wrong, and why."""
    planted = draw_data(place / "data", seed)
    competition = Competition(name=f"odd-{seed}", data=str(planted.folder), labels=planted.labels, metric="accuracy",
                              submission=planted.submission, recipe=RECIPE)  # fmt: skip
    try:
        found = check_competition(competition, RunOptions())
        missing = sum(planted.classes.values()) - sum(found.classes.values())
        counted = sum(int(match[0]) for text in found.odd if (match := re.match(r"\d+", text)))
        if missing > counted or set(found.classes) - set(planted.classes):
            return "wrong", f"check: {missing} pictures vanish; classes {sorted(found.classes)}"
        folder = flow.run(competition, RunOptions(engine="keras"))
        if planted.tests:
            rows = read_csv_as_text(folder / "submission.csv")
            if sorted(rows.iloc[:, 0]) != sorted(planted.tests):
                return "wrong", f"submission: {sorted(rows.iloc[:, 0])} for {sorted(planted.tests)}"
        propose_competition(planted.folder)
    except StarshiftError as error:
        return "clear", error.message
    except Exception:
        return "wrong", traceback.format_exc(limit=-4)
    return "right", ""


def main() -> None:
    """Draws and tries the sets, and prints how many ended how."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes, reasons = Counter[str](), Counter[str]()
    for seed in range(arguments.seed, arguments.seed + arguments.sets):
        place = Path(tempfile.mkdtemp(prefix="odd-"))
        os.environ["STARSHIFT_HOME"] = str(place / "home")
        outcome, why = try_one(place, seed)
        outcomes[outcome] += 1
        if outcome == "wrong":
            print(f"set {seed}: {why}", flush=True)
        reasons[re.sub(r"\d+", "N", why) if outcome == "clear" else ""] += 1
        shutil.rmtree(place)
    print({**outcomes})
    for reason, count in reasons.most_common():
        if reason:
            print(f"clear {count:>4}  {reason}")
    sys.exit(outcomes["wrong"] > 0)


if __name__ == "__main__":
    main()
