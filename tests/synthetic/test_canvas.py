"""The pixels of polygons and lines, against slow and plain definitions."""

import numpy as np

from pipeline.synthetic.canvas import (
    Canvas,
    apply_box_blur,
    build_edges,
    join_outlines,
    rasterize_lines,
    rasterize_polygons,
)
from pipeline.synthetic.rng import Rng

SIDE = 24


def inside(outline: np.ndarray, x: int, y: int) -> bool:
    """The even-odd rule for one point, in whole sixteenths of a pixel."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(outline.tolist(), np.roll(outline, -1, 0).tolist(), strict=True):
        if (y0 <= y) != (y1 <= y):
            side = (y - y0) * (x1 - x0) - (x - x0) * (y1 - y0)
            crossings += side <= 0 if y1 > y0 else side >= 0
    return crossings % 2 == 1


def test_a_polygon_covers_exactly_the_pixels_whose_centres_it_holds():
    dice = Rng(1, 2, 3, 4)
    for _ in range(20):
        outline = np.array([[dice.whole(-160, 560), dice.whole(-160, 560)] for _ in range(7)])
        mask = np.zeros(SIDE * SIDE, bool)
        mask[rasterize_polygons(outline, build_edges(((0, 7),)), SIDE)[0]] = True
        centres = [(16 * column + 8, 16 * row + 8) for row in range(SIDE) for column in range(SIDE)]
        assert mask.tolist() == [inside(outline, *centre) for centre in centres]


def test_each_pixel_knows_its_polygon():
    square = np.array([[0, 0], [64, 0], [64, 64], [0, 64]])
    points, edges = join_outlines([square, square + 128])
    spots, owners = rasterize_polygons(points, edges, SIDE)
    assert owners.tolist() == [0] * 16 + [1] * 16
    assert spots[:5].tolist() == [0, 1, 2, 3, SIDE]


def test_a_line_reaches_from_end_to_end_and_stays_inside_the_picture():
    line = np.array([[8, 8], [8 + 16 * 9, 8 + 16 * 3], [16 * 99, -999]])
    spots = rasterize_lines(line, build_edges(((0, 3),), closed=False), SIDE)
    assert spots[0] == 0
    assert 3 * SIDE + 9 in spots
    assert spots.min() >= 0
    assert spots.max() < SIDE * SIDE


def test_a_later_polygon_hides_an_earlier_one():
    canvas = Canvas(np.zeros((8, 8, 3), np.uint8))
    square = np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])
    canvas.polygons([square, square * 0.5], [(200, 0, 0), (0, 100, 0)])
    assert canvas.picture()[0, 0].tolist() == [0, 100, 0]
    assert canvas.picture()[7, 7].tolist() == [200, 0, 0]


def test_a_box_blur_spreads_a_point_over_its_box():
    pixels = np.zeros((9, 9), np.uint8)
    pixels[4, 4] = 90
    blurred = apply_box_blur(pixels, 1)
    assert (blurred[3:6, 3:6] == 10).all()
    assert blurred.sum() == 90
    assert (apply_box_blur(np.full((5, 5), 77, np.uint8), 2) == 77).all()
