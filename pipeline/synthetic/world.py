"""Draws the world for pretraining: 97 classes of plants, animals, objects and textures.

No class is a species of sprouts.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.errors import StarshiftError
from pipeline.files import hash_json, write_atomic
from pipeline.subprocesses import block_interrupts
from pipeline.synthetic import backgrounds, objects, organisms
from pipeline.synthetic.camera import Light, paint_plant, sample_leaf_colour
from pipeline.synthetic.canvas import Canvas
from pipeline.synthetic.leaves import Blade, Leaf
from pipeline.synthetic.parts import paint_parts, sample_colours
from pipeline.synthetic.plants import PlantForm, grow_plant
from pipeline.synthetic.rng import Rng
from pipeline.synthetic.sprouts import SPECIES_FORMS
from pipeline.terminal import open_bar

Job = TypeVar("Job")
Result = TypeVar("Result")
PICTURE_SIDE = 128
RNG_KEY = 2
PLANT_CLASSES = 40
MIN_TRAIT_DISTANCE = 1.6
"""The least distance in `compute_traits` between two plants of the world, and between one and a species of sprouts."""
ARRANGEMENTS = ("rosette", "opposite", "alternate", "whorl", "tuft")
COMPOUNDS = ("simple", "pinnate", "palmate", "twice")
PART_BUILDERS = {
    **organisms.FLOWER_BUILDERS,
    **organisms.INSECT_BUILDERS,
    **organisms.SEASHELL_BUILDERS,
    **objects.OBJECT_BUILDERS,
}
CLASSES: tuple[str, ...] = (
    *(f"plant {number + 1:02}" for number in range(PLANT_CLASSES)),
    *PART_BUILDERS,
    *objects.PATTERN_BUILDERS,
)


def compute_traits(form: PlantForm) -> np.ndarray:
    """Computes the botanical traits of a form, scaled so that 1 is a clear difference: float64 vector."""
    leaf, blade = form.leaf, form.leaf.blade
    divided = leaf.compound != "simple"
    kinds = [2.0 * (form.arrangement == name) for name in ARRANGEMENTS]
    kinds += [2.0 * (leaf.compound == name) for name in COMPOUNDS]
    return np.array([
        *kinds, 2.0 * blade.round, 3 * blade.width, 3 * blade.widest, blade.base, blade.tip, 4 * blade.cordate,
        4 * blade.notch, 4 * blade.depth * (blade.teeth > 0), blade.teeth / 8, blade.lobes / 3, 2 * blade.cut,
        2 * blade.lean, 1.5 * leaf.stalk, leaf.leaflets / 2 * divided, 5 * leaf.spread * divided,
    ])  # fmt: skip


def sample_blade(dice: Rng, compound: bool) -> Blade:
    """Samples a blade; leaflets are not round."""
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


def sample_form(dice: Rng) -> PlantForm:
    """Samples a plant."""
    compound = dice.pick(("simple", "simple", "simple", "pinnate", "palmate", "twice"))
    leaflets = {"simple": 1, "pinnate": dice.whole(2, 7), "palmate": dice.whole(3, 7), "twice": dice.whole(2, 5)}
    leaf = Leaf(
        blade=sample_blade(dice, compound != "simple"), stalk=dice.between(0, 0.9), compound=compound,
        leaflets=leaflets[compound], spread=dice.between(0.12, 0.36),
        size=dice.between(0.5, 0.7) if compound == "palmate" else dice.between(0.25, 0.5), taper=dice.between(0, 0.5),
    )  # fmt: skip
    seed_leaf = Blade(width=dice.between(0.2, 0.9), base=0.6, tip=0.5, notch=dice.pick((0.0, 0.2)), veins=0)
    arrangement = dice.pick(ARRANGEMENTS)
    young = dice.whole(2, 3) if arrangement in ("opposite", "whorl") else dice.whole(3, 5)
    return PlantForm(
        leaf=leaf, cotyledon=Leaf(blade=seed_leaf, stalk=dice.between(0.2, 0.5)), arrangement=arrangement,
        young=young, old=young + dice.whole(1, 2 + young), ring=dice.whole(3, 7), internode=dice.between(0.3, 0.9),
        rise=dice.between(0.03, 0.12), droop=dice.between(0.05, 0.35), stems=dice.between(0.1, 0.8),
    )  # fmt: skip


@lru_cache(maxsize=1)
def build_plant_forms() -> tuple[PlantForm, ...]:
    """Builds the world's plants, the same for every seed; samples that are close to an earlier plant are rejected."""
    dice, traits = Rng(20, RNG_KEY), [compute_traits(form) for form in SPECIES_FORMS.values()]
    forms: list[PlantForm] = []
    while len(forms) < PLANT_CLASSES:
        form = sample_form(dice)
        vector = compute_traits(form)
        if min(float(((vector - other) ** 2).sum()) for other in traits) > MIN_TRAIT_DISTANCE**2:
            traits.append(vector)
            forms.append(form)
    return tuple(forms)


def draw_picture(label: int, number: int, seed: int, size: int = PICTURE_SIDE) -> np.ndarray:
    """Draws one picture of a class, (size, size, 3) uint8 RGB; depends on nothing but the arguments.

    Args:
        label: index in CLASSES.
        number: of the picture among its class's.
        seed: of the whole set.
        size: side in pixels.
    """
    name = CLASSES[label]

    def painter(canvas: Canvas, dice: Rng, light: Light) -> None:
        if label < PLANT_CLASSES:
            colour = sample_leaf_colour(dice) if dice.chance(0.6) else sample_colours(dice)[0]
            organs = grow_plant(build_plant_forms()[label], dice)
            paint_plant(canvas, organs, dice, light, dice.bell(0.13, 0.06), colour)
        elif name in PART_BUILDERS:
            paint_parts(canvas, PART_BUILDERS[name](dice), dice, light, dice.bell(0.58, 0.18), 0.18)
        else:
            paint_parts(canvas, objects.PATTERN_BUILDERS[name](dice), dice, light, dice.between(2.2, 3.6), 0.3)

    return backgrounds.draw_scene(Rng(seed, RNG_KEY, label, number), size, painter)


def draw_in_processes(draw: Callable[[Job], Result], jobs: Sequence[Job], title: str) -> Iterator[Result]:
    """Yields the result of `draw` for each job, in order, from one process per core, with a progress bar.

    Args:
        draw: a function at the top of a module, so that processes can import it.
        jobs: one argument a picture.
        title: of the progress bar.

    Raises:
        StarshiftError: one of the processes was killed.
    """
    pool = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
    try:
        with block_interrupts():  # map hands over all jobs, and so starts all processes, before it returns
            results = pool.map(draw, jobs, chunksize=32)
        with open_bar(total=len(jobs), desc=title, unit="picture") as bar:
            for result in results:
                yield result
                bar.update()
    except BrokenProcessPool as error:
        raise StarshiftError(
            f"A process of `{title}` was killed, most likely since memory ended.",
            expected=f"{os.cpu_count()} processes that draw to the end",
            received=str(error),
            remedy="the same command begins this step anew",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def load_world(numbers: range, seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns pictures of every class of the world, from disk where they were drawn before.

    Args:
        numbers: of the pictures of each class.
        seed: of the world.
        folder: of the files.

    Returns:
        pixels (classes * len(numbers), 128, 128, 3) uint8, mapped into memory, and labels (...,) int32.
    """
    jobs = [(label, number, seed) for number in numbers for label in range(len(CLASSES))]
    path = folder / f"world-{hash_json([list(CLASSES), numbers.start, numbers.stop, seed])[:12]}.npy"
    if not path.exists():
        pixels = np.empty((len(jobs), PICTURE_SIDE, PICTURE_SIDE, 3), np.uint8)
        for place, picture in enumerate(draw_in_processes(_draw_job, jobs, "draw the world")):
            pixels[place] = picture
        write_atomic(path, lambda file: np.save(file, pixels))
    return np.load(path, mmap_mode="r"), np.array([label for label, _, _ in jobs], np.int32)


def _draw_job(job: tuple[int, int, int]) -> np.ndarray:
    return draw_picture(*job)
