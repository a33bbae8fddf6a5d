"""What single filters of a base answer to is shown from real pictures, from early to late layers."""

import numpy as np
from invoke import Context
from PIL import Image

from pipeline.cli.experiments import layers
from pipeline.experiments.layer_filters import FILTERS, PATCHES, crop_patch, find_peaks, select_filters
from pipeline.models.base import parse_base


def test_a_sheet_has_the_patches_of_every_filter(mine, home, capsys):
    layers(Context(), comp=str(mine), base=("mobilenet_025=none",), size="64")
    path = home / "data" / "reports" / "mine" / "layers-mobilenet_025.png"
    assert path.name in "".join(capsys.readouterr())
    with Image.open(path) as sheet:
        assert sheet.width > 40 * PATCHES and sheet.height > 40 * FILTERS * 5


def test_the_place_that_excites_a_filter_most_is_where_the_picture_differs():
    pixels = np.zeros((2, 64, 64, 3), np.uint8)
    pixels[1, 40:48, 16:24] = 255
    peaks, cells, sides = find_peaks(parse_base("mobilenet_025=none", 64), ["conv_pw_1_relu"], pixels)
    excited = np.flatnonzero(peaks[0][1] > peaks[0][0] + 0.05)
    rows, columns = np.divmod(cells[0][1][excited], sides[0])
    assert len(excited) and ((rows >= 18) & (rows <= 25) & (columns >= 6) & (columns <= 13)).all()


def test_the_most_selective_filters_are_shown():
    peaks = np.random.default_rng(0).uniform(0, 1, (200, 6))
    peaks[:8, 4] = 30.0
    assert select_filters(peaks)[0] == 4


def test_a_patch_at_the_edge_lies_within_the_picture():
    picture = np.zeros((70, 70, 3), np.uint8)
    picture[:30, 40:] = 200
    assert (crop_patch(picture, (0, 6), 7) == 200).all()
