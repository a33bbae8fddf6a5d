"""Sprouts, the demo competition: seedlings of twelve made-up species that differ in shape alone.

Colour, size in the picture, soil and light have the same distribution for every species.
"""

import numpy as np

from pipeline.synthetic import backgrounds
from pipeline.synthetic.camera import Light, paint_plant, sample_leaf_colour
from pipeline.synthetic.canvas import Canvas
from pipeline.synthetic.leaves import Blade, Leaf
from pipeline.synthetic.plants import PlantForm, grow_plant
from pipeline.synthetic.rng import Rng

PICTURE_SIDE = 128
RNG_KEY = 1
TRAIN_COUNTS = (104, 92, 112, 98, 86, 108, 95, 116, 100, 82, 110, 97)
"""Training pictures of each species: 1,200 in all."""
TEST_COUNT = 50
"""Test pictures of each species."""
ROUND_COTYLEDON = Leaf(blade=Blade(width=0.8, base=0.5, tip=0.5, veins=0), stalk=0.5)
LONG_COTYLEDON = Leaf(blade=Blade(width=0.3, base=0.6, tip=0.6, veins=0), stalk=0.3)
SPECIES_FORMS: dict[str, PlantForm] = {
    "Velvet spurwort": PlantForm(  # heart-shaped, entire, in pairs on long stalks
        leaf=Leaf(blade=Blade(width=0.85, widest=0.32, base=0.5, tip=1.0, cordate=0.2), stalk=0.55),
        cotyledon=ROUND_COTYLEDON, arrangement="opposite", young=2, old=3,
    ),
    "Saw-edged nettlet": PlantForm(  # egg-shaped, sharply toothed, in crossed pairs
        leaf=Leaf(blade=Blade(width=0.62, widest=0.35, base=0.55, tip=1.1, teeth=7, depth=0.34, veins=5), stalk=0.3),
        cotyledon=ROUND_COTYLEDON, arrangement="opposite", young=2, old=4, internode=0.45,
    ),
    "Three-pip clovern": PlantForm(  # three notched leaflets
        leaf=Leaf(
            blade=Blade(width=0.8, widest=0.68, base=0.9, tip=0.5, notch=0.16),
            stalk=0.8, compound="palmate", leaflets=3, spread=0.29, size=0.6, taper=0.05,
        ),
        cotyledon=LONG_COTYLEDON,
    ),
    "Lacewing vetchlet": PlantForm(  # pairs of small oval leaflets
        leaf=Leaf(
            blade=Blade(width=0.55, widest=0.5, base=0.5, tip=0.55, veins=3),
            stalk=0.25, compound="pinnate", leaflets=4, spread=0.21, size=0.34, taper=0.25,
        ),
        cotyledon=LONG_COTYLEDON, old=7,
    ),
    "Paddle spooncress": PlantForm(  # spoons in a rosette
        leaf=Leaf(blade=Blade(width=0.46, widest=0.74, base=1.7, tip=0.5, veins=3), stalk=0.1),
        cotyledon=ROUND_COTYLEDON, young=5, old=11,
    ),
    "Star-lobed mallowet": PlantForm(  # five pointed lobes around the stalk's end
        leaf=Leaf(blade=Blade(round=True, width=1.0, lobes=5, cut=0.62, tip=0.9, sinus=0.12), stalk=0.6),
        cotyledon=ROUND_COTYLEDON, old=7,
    ),
    "Penny rimwort": PlantForm(  # round, scalloped, with a slit to the stalk
        leaf=Leaf(blade=Blade(round=True, width=1.05, teeth=6, depth=0.16, scalloped=True), stalk=0.75),
        cotyledon=ROUND_COTYLEDON, old=7,
    ),
    "Ribbon plantelle": PlantForm(  # lance-shaped with veins along them
        leaf=Leaf(blade=Blade(width=0.3, widest=0.5, base=0.85, tip=1.1, veins=-2)),
        cotyledon=LONG_COTYLEDON, young=5, old=10, rise=0.08,
    ),
    "Runcible toothleaf": PlantForm(  # cut to the midrib, the lobes leaning back
        leaf=Leaf(
            blade=Blade(width=0.5, widest=0.66, base=0.8, tip=0.7, lobes=5, cut=0.78, lean=-0.55, veins=0), stalk=0.1
        ),
        cotyledon=ROUND_COTYLEDON, young=4, old=9,
    ),
    "Whorled starbed": PlantForm(  # rings of six narrow leaves up a stem
        leaf=Leaf(blade=Blade(width=0.26, widest=0.6, base=0.8, veins=0), stalk=0.02),
        cotyledon=ROUND_COTYLEDON, arrangement="whorl", young=2, old=4, internode=0.75, stems=0.5,
    ),
    "Feathered needlewort": PlantForm(  # leaves of forked threads
        leaf=Leaf(
            blade=Blade(width=0.2, widest=0.5, base=0.4, tip=0.5, veins=0),
            stalk=0.15, compound="twice", leaflets=4, spread=0.13, size=0.42, taper=0.35,
        ),
        cotyledon=LONG_COTYLEDON, young=4, old=9,
    ),
    "Marsh quillgrass": PlantForm(  # a fan of long narrow blades
        leaf=Leaf(blade=Blade(width=0.12, widest=0.3, base=0.2, tip=0.5, veins=-1), stalk=0.0),
        cotyledon=LONG_COTYLEDON, arrangement="tuft", young=6, old=12, rise=0.1, droop=0.4,
    ),
}  # fmt: skip
SPECIES: tuple[str, ...] = tuple(SPECIES_FORMS)


def draw_picture(species: int, number: int, seed: int) -> np.ndarray:
    """Draws one seedling, (128, 128, 3) uint8 RGB; depends on nothing but the arguments.

    Args:
        species: index in SPECIES.
        number: of the picture among its species'.
        seed: of the whole set.
    """
    form = SPECIES_FORMS[SPECIES[species]]

    def painter(canvas: Canvas, dice: Rng, light: Light) -> None:
        paint_plant(canvas, grow_plant(form, dice), dice, light, dice.bell(0.13, 0.06), sample_leaf_colour(dice))

    return backgrounds.draw_scene(Rng(seed, RNG_KEY, species, number), PICTURE_SIDE, painter)


def list_pictures(seed: int) -> list[tuple[str, str, int, int]]:
    """Lists the whole set: (part, id, species, number), in the order of the ids, which is shuffled over the species.

    Args:
        seed: of the set.
    """
    rows = [
        (part, species, number + start)
        for part, counts, start in (("train", TRAIN_COUNTS, 0), ("test", (TEST_COUNT,) * len(SPECIES), 1000))
        for species, count in enumerate(counts)
        for number in range(count)
    ]
    order = Rng(seed, RNG_KEY, len(SPECIES), 0).order(len(rows))
    return [(rows[row][0], f"s{place:04}", *rows[row][1:]) for place, row in enumerate(order)]
