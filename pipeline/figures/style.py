"""Styles figures: colours that the colour-blind tell apart, and plain axes.

Matplotlib is used without pyplot, so that no state or window outlives a figure.
"""

import io
import warnings

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

BLUE, ORANGE, GREEN, PALE = "#0072B2", "#D55E00", "#009E73", "#D6E6F2"
"""Okabe and Ito 2008, Color Universal Design; PALE is BLUE on white."""
INK, GREY, RULE = "#222222", "#666666", "#DDDDDD"
DPI = 130


def build_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Builds an empty figure whose title states the finding.

    Args:
        width: in inches.
        height: in inches.
        title: above, to the left; a long one is written smaller.
        note: below, to the left: how to read it.
    """
    made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    size = min(12.5, 100 * width / len(title))
    made.text(0.02, 1 - 0.13 / height, title, ha="left", va="top", fontsize=size, fontweight="bold", color=INK)
    if note:
        made.text(0.02, 0.12 / height, note, ha="left", va="bottom", fontsize=8.5, color=GREY)
    return made


def style_axes(axes: Axes) -> None:
    """Takes the box away and leaves faint horizontal lines."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)


def render_png(made: Figure) -> bytes:
    """Renders the figure as a PNG file."""
    file = io.BytesIO()
    render_image(made).save(file, "PNG", optimize=True)
    return file.getvalue()


def render_image(made: Figure) -> Image.Image:
    """Renders the figure's pixels, as an RGB picture."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks are drawn as boxes
        made.savefig(file, format="png")
    with Image.open(file) as picture:
        return picture.convert("RGB")
