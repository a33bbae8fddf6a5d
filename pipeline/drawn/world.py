"""The world to pretrain on: plants, animals, things and textures, none of them a species of `sprouts`."""

from functools import lru_cache

import numpy as np

from pipeline.drawn import flowers, insects, objects, patterns, scenes, shells
from pipeline.drawn.canvas import Canvas
from pipeline.drawn.dice import Dice
from pipeline.drawn.leaves import Blade, Leaf
from pipeline.drawn.light import Light
from pipeline.drawn.parts import hues, paint_parts
from pipeline.drawn.plants import Form, grow
from pipeline.drawn.sprouts import FORMS
from pipeline.drawn.views import greens, paint

WORLD = 2
PLANTS = 40
APART = 1.6
"""The least distance between two forms in `traits`, of the world's plants from each other and from the species."""
ARRANGEMENTS = ("rosette", "opposite", "alternate", "whorl", "tuft")
COMPOUNDS = ("simple", "pinnate", "palmate", "twice")
THINGS = {**flowers.BUILDERS, **insects.BUILDERS, **shells.BUILDERS, **objects.BUILDERS}
CLASSES: tuple[str, ...] = (
    *(f"plant {number + 1:02}" for number in range(PLANTS)),
    *THINGS,
    *patterns.BUILDERS,
)


def traits(form: Form) -> np.ndarray:
    """What a botanist would note of a form, each trait scaled so that 1 is a clear difference: float64 vector."""
    leaf, blade = form.leaf, form.leaf.blade
    divided = leaf.compound != "simple"
    kinds = [2.0 * (form.arrangement == name) for name in ARRANGEMENTS]
    kinds += [2.0 * (leaf.compound == name) for name in COMPOUNDS]
    return np.array([
        *kinds, 2.0 * blade.round, 3 * blade.width, 3 * blade.widest, blade.base, blade.tip, 4 * blade.cordate,
        4 * blade.notch, 4 * blade.depth * (blade.teeth > 0), blade.teeth / 8, blade.lobes / 3, 2 * blade.cut,
        2 * blade.lean, 1.5 * leaf.stalk, leaf.leaflets / 2 * divided, 5 * leaf.spread * divided,
    ])  # fmt: skip


def random_blade(dice: Dice, compound: bool) -> Blade:
    """Any blade; leaflets are not round ones."""
    kind = dice.pick(("entire", "entire", "toothed", "lobed"))
    round_ = not compound and dice.chance(0.25)
    lobes = dice.whole(2, 6) if kind == "lobed" else 0
    return Blade(
        width=dice.between(0.85, 1.2) if round_ else dice.between(0.14, 0.9),
        widest=dice.between(0.25, 0.78), base=dice.between(0.45, 1.7), tip=dice.between(0.45, 1.6),
        cordate=dice.pick((0.0, 0.0, 0.22)), notch=dice.pick((0.0, 0.0, 0.0, 0.2)),
        teeth=dice.whole(3, 9) if kind == "toothed" else 0, depth=dice.between(0.15, 0.45),
        scalloped=dice.chance(0.4), lobes=lobes + (3 if round_ and lobes else 0),
        cut=dice.between(0.35, 0.75) if lobes else 0.0, lean=dice.pick((0.0, 0.4, -0.4)) if lobes else 0.0,
        round=round_, sinus=dice.between(0.05, 0.3), veins=dice.pick((0, 3, 5, 7, -2)),
    )  # fmt: skip


def random_form(dice: Dice) -> Form:
    """Any plant."""
    compound = dice.pick(("simple", "simple", "simple", "pinnate", "palmate", "twice"))
    leaflets = {"simple": 1, "pinnate": dice.whole(2, 7), "palmate": dice.whole(3, 7), "twice": dice.whole(2, 5)}
    leaf = Leaf(
        blade=random_blade(dice, compound != "simple"), stalk=dice.between(0, 0.9), compound=compound,
        leaflets=leaflets[compound], spread=dice.between(0.12, 0.36),
        size=dice.between(0.5, 0.7) if compound == "palmate" else dice.between(0.25, 0.5), taper=dice.between(0, 0.5),
    )  # fmt: skip
    seed_leaf = Blade(width=dice.between(0.2, 0.9), base=0.6, tip=0.5, notch=dice.pick((0.0, 0.2)), veins=0)
    arrangement = dice.pick(ARRANGEMENTS)
    young = dice.whole(2, 3) if arrangement in ("opposite", "whorl") else dice.whole(3, 5)
    return Form(
        leaf=leaf, cotyledon=Leaf(blade=seed_leaf, stalk=dice.between(0.2, 0.5)), arrangement=arrangement,
        young=young, old=young + dice.whole(1, 2 + young), ring=dice.whole(3, 7), internode=dice.between(0.3, 0.9),
        rise=dice.between(0.03, 0.12), droop=dice.between(0.05, 0.35), stems=dice.between(0.1, 0.8),
    )  # fmt: skip


@lru_cache(maxsize=1)
def forms() -> tuple[Form, ...]:
    """The world's plants, the same for every seed: drawn one by one, those near to an earlier one passed over."""
    dice, known = Dice(20, WORLD), [traits(form) for form in FORMS.values()]
    found: list[Form] = []
    while len(found) < PLANTS:
        form = random_form(dice)
        vector = traits(form)
        if min(float(((vector - other) ** 2).sum()) for other in known) > APART**2:
            known.append(vector)
            found.append(form)
    return tuple(found)


def picture(label: int, number: int, seed: int, size: int = 128) -> np.ndarray:
    """One picture of a class, (size, size, 3) uint8 RGB; depends on nothing but the arguments.

    Args:
        label: index in CLASSES.
        number: of the picture among its class's.
        seed: of the whole set.
        size: side in pixels.
    """
    name = CLASSES[label]

    def painter(canvas: Canvas, dice: Dice, light: Light) -> None:
        if label < PLANTS:
            colour = greens(dice) if dice.chance(0.6) else hues(dice)[0]
            paint(canvas, grow(forms()[label], dice), dice, light, dice.bell(0.13, 0.06), colour)
        elif name in THINGS:
            paint_parts(canvas, THINGS[name](dice), dice, light, dice.bell(0.58, 0.18), 0.18)
        else:
            paint_parts(canvas, patterns.BUILDERS[name](dice), dice, light, dice.between(2.2, 3.6), 0.3)

    return scenes.picture(Dice(seed, WORLD, label, number), size, painter)
