"""Draws contact sheets: many small pictures on one page, with captions and marks for wrong predictions."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from pipeline.errors import require
from pipeline.figures.style import DPI, GREEN, INK, ORANGE, build_figure, render_image

GAP, FRAME, LINE_HEIGHT, TITLE_HEIGHT, NOTE_HEIGHT = 10, 4, 15, 50, 30
"""Pixels between pictures, around a marked one, for a line of words, for the title and for the note."""
MIN_SIDE, MAX_SIDE = 40, 144
MAX_BYTES = 200_000
PALETTE_SIZE = 256


def draw_contact_sheet(
    pictures: np.ndarray,
    columns: int,
    captions: Sequence[str] = (),
    *,
    title: str,
    headings: Sequence[str] = (),
    names: Sequence[str] = (),
    wrong: Sequence[bool] = (),
    note: str = "",
    limit: int = MAX_BYTES,
) -> bytes:
    """Pictures in rows and columns, as large as the limit allows.

    Args:
        pictures: (n, height, width, 3) uint8, row after row.
        columns: how many in a row.
        captions: one a picture, below it; or none.
        title: what is to be seen.
        headings: one a column, above it; or none.
        names: one a row, beside it; or none.
        wrong: frames a picture in orange and crosses it, the others in green and ticks them; or none.
        note: the last line.
        limit: largest size in bytes; reached by smaller pictures, down to 40 pixels.

    Returns:
        A PNG file of at most 256 colours.
    """
    rows = -(-len(pictures) // columns)
    expected = {"captions": len(pictures), "headings": columns, "names": rows, "wrong": len(pictures)}
    for given, (what, count) in zip((captions, headings, names, wrong), expected.items(), strict=True):
        require(len(given) in (0, count), f"Pictures and {what} differ in number.", expected=str(count), received=given)
    side = MAX_SIDE
    text = _SheetText(captions, headings, names, wrong, title, note)
    while True:
        sheet = _encode_png(_SheetLayout(pictures, columns, side, text).draw())
        if len(sheet) <= limit or side <= MIN_SIDE:
            return sheet
        side = max(MIN_SIDE, min(side - 4, int(side * (limit / len(sheet)) ** 0.5)))


class _SheetText(NamedTuple):
    """What is written around the pictures, see `draw_contact_sheet`."""

    captions: Sequence[str]
    headings: Sequence[str]
    names: Sequence[str]
    wrong: Sequence[bool]
    title: str
    note: str


class _SheetLayout:
    """Places everything, in pixels from the upper left corner."""

    def __init__(self, pictures: np.ndarray, columns: int, side: int, text: _SheetText) -> None:
        height, width = pictures.shape[1:3]
        self.text, self.columns, self.wide, self.high = text, columns, side, max(1, round(side * height / width))
        self.pictures = [
            cv2.resize(picture, (self.wide, self.high), interpolation=cv2.INTER_AREA) for picture in pictures
        ]
        lines = max((caption.count("\n") + 1 for caption in text.captions), default=0)
        self.caption_height = LINE_HEIGHT * lines + (5 if text.captions else 0)
        self.left = GAP + FRAME + (LINE_HEIGHT + 4 if text.names else 0)
        self.above = TITLE_HEIGHT + (LINE_HEIGHT + 2 if text.headings else 0)
        rows = -(-len(pictures) // columns)
        self.width = max(self.left + columns * (self.wide + GAP) + GAP, 420)
        self.height = self.above + rows * (self.high + GAP + self.caption_height) + NOTE_HEIGHT

    def corner(self, number: int) -> tuple[int, int]:
        """Returns the upper left corner (x, y) of a picture."""
        row, column = divmod(number, self.columns)
        return self.left + column * (self.wide + GAP), self.above + row * (self.high + GAP + self.caption_height)

    def draw(self) -> Image.Image:
        """Draws the page, an RGB picture."""
        captions, headings, names, wrong, title, note = self.text
        made = build_figure(self.width / DPI, self.height / DPI, title, note)
        letters = max(4, int(self.wide / 8.3))

        def write(x: float, y: float, words: str, colour: str = INK, **how: Any) -> None:
            short = "\n".join(f"{line[: letters - 1]}…" if len(line) > letters else line for line in words.split("\n"))
            made.text(x / self.width, 1 - y / self.height, short, fontsize=7, color=colour, ha="center", **how)

        for number in range(len(self.pictures)):
            x, y = self.corner(number)
            colour, mark = (INK, "") if not wrong else (ORANGE, "✗ ") if wrong[number] else (GREEN, "✓ ")
            if captions:
                write(x + self.wide / 2, y + self.high + FRAME + 2, mark + captions[number], colour, va="top")
            if names and number % self.columns == 0:
                row = names[number // self.columns]
                write(self.left - FRAME - 3, y + self.high / 2, row, rotation=90, va="center", rotation_mode="default")
        for column, heading in enumerate(headings):
            write(self.corner(column)[0] + self.wide / 2, self.above - 6, heading, va="bottom")
        page = np.array(render_image(made))
        for number, picture in enumerate(self.pictures):
            x, y = self.corner(number)
            if wrong:
                frame = tuple(bytes.fromhex((ORANGE if wrong[number] else GREEN)[1:]))
                page[y - FRAME : y + self.high + FRAME, x - FRAME : x + self.wide + FRAME] = frame
            page[y : y + self.high, x : x + self.wide] = picture
        return Image.fromarray(page)


def _encode_png(page: Image.Image) -> bytes:
    """Encodes a PNG file with a palette of 255 shades and white, a third of the size of full colour."""
    palette = page.quantize(PALETTE_SIZE - 1, method=Image.Quantize.MEDIANCUT)
    shades = page.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    indices = np.array(shades)
    indices[(np.array(page) == 255).all(axis=2)] = PALETTE_SIZE - 1
    packed = Image.fromarray(indices)
    levels = np.full((PALETTE_SIZE, 3), 255, np.uint8)
    result = np.array(shades.getpalette(), np.uint8).reshape(-1, 3)[: PALETTE_SIZE - 1]
    levels[: len(result)] = result
    packed.putpalette(levels.ravel().tolist())
    file = io.BytesIO()
    packed.save(file, "PNG", optimize=True)
    return file.getvalue()
