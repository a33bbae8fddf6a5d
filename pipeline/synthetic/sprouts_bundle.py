"""Writes sprouts in Kaggle's layout: an archive, and the test labels in a file of their own."""

import io
import zipfile
from pathlib import Path
from typing import IO

from pipeline.files import format_csv, write_atomic, write_text
from pipeline.synthetic import sprouts
from pipeline.synthetic.world import draw_in_processes

SEED = 2026
JPEG_QUALITY = 92
ZIP_DATE = (2026, 1, 1, 0, 0, 0)


def write_bundle(archive: Path, answers: Path, seed: int = SEED) -> None:
    """Draws the set and writes a zip file with train/, test/, labels.csv and sample_submission.csv.

    Args:
        archive: of the bundle, written atomically.
        answers: a CSV file of the test pictures' species, for the final score alone.
        seed: of the set.
    """
    rows = sprouts.list_pictures(seed)
    labels = [(name, sprouts.SPECIES[species]) for part, name, species, _ in rows if part == "train"]
    secret = [(name, sprouts.SPECIES[species]) for part, name, species, _ in rows if part == "test"]
    sample = [(name, sprouts.SPECIES[0]) for name, _ in secret]
    jobs = [(species, number, seed) for _, _, species, number in rows]

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as bundle:
            pictures = draw_in_processes(_draw_jpeg, jobs, "draw sprouts")
            for (part, name, _, _), data in zip(rows, pictures, strict=True):
                bundle.writestr(zipfile.ZipInfo(f"{part}/{name}.jpg", ZIP_DATE), data)
            bundle.writestr(zipfile.ZipInfo("labels.csv", ZIP_DATE), _format_csv(labels))
            bundle.writestr(zipfile.ZipInfo("sample_submission.csv", ZIP_DATE), _format_csv(sample))

    write_text(answers, _format_csv(secret))
    write_atomic(archive, write)


def _draw_jpeg(job: tuple[int, int, int]) -> bytes:
    """Draws one picture as the bytes of a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(sprouts.draw_picture(*job)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _format_csv(rows: list[tuple[str, str]]) -> str:
    return format_csv([("id", "species"), *rows])
