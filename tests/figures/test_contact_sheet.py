"""Contact sheets: every picture in its place, wrong ones marked, white stays white, the size is held."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StarshiftError
from pipeline.figures.contact_sheet import FRAME, MAX_SIDE, draw_contact_sheet
from tests.conftest import drawn

COLOURS = np.array(
    [(200, 30, 30), (30, 160, 40), (40, 60, 200), (240, 200, 40), (10, 10, 10), (130, 40, 140)], np.uint8
)
PLAIN = np.broadcast_to(COLOURS[:, None, None], (6, 20, 20, 3))


def opened(data):
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB")).astype(int)


def patches(page, colour):
    """The corners of the box that a colour fills, and how much of the box it fills."""
    rows, columns = np.nonzero(np.abs(page - np.array(colour)).max(axis=2) <= 6)
    filled = len(rows) / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1))
    return rows.min(), columns.min(), rows.max(), columns.max(), filled


def test_pictures_lie_row_after_row_each_whole_and_white_stays_white():
    page = opened(draw_contact_sheet(PLAIN, 3, title="six colours"))
    found = [patches(page, colour) for colour in COLOURS]
    assert all(box[4] > 0.95 for box in found[:4])
    assert found[0][0] == found[1][0] == found[2][0] < found[3][0] and found[0][1] == found[3][1] < found[1][1]
    assert found[0][2] - found[0][0] + 1 == MAX_SIDE
    assert (page[0] == 255).all() and (page[:, -1] == 255).all()


def test_wrong_pictures_are_framed_in_another_colour_than_right_ones():
    wrong = [False, True, False, False, False, False]
    page = opened(draw_contact_sheet(PLAIN, 3, ["cat", "dog"] * 3, title="one is wrong", wrong=wrong))
    frames = []
    for colour in COLOURS[:3]:
        top, left, *_ = patches(page, colour)
        frames.append(tuple(page[top - FRAME // 2, left + 20] // 16))
    assert frames[0] == frames[2] != frames[1] and frames[1][0] > frames[1][2]


def test_a_sheet_keeps_to_its_limit_by_smaller_pictures():
    pictures = np.stack([drawn(number, 64, 64) for number in range(6)])
    small, large = (draw_contact_sheet(pictures, 3, title="waves", limit=limit) for limit in (30_000, 1_000_000))
    assert len(small) <= 30_000 < len(large)
    assert opened(small).shape < opened(large).shape


def test_words_for_other_pictures_are_refused():
    with pytest.raises(StarshiftError, match="captions differ in number"):
        draw_contact_sheet(PLAIN, 3, ["one"], title="")
