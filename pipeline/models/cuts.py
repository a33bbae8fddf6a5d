"""Lists the layers of a network and cuts it in two at a bottleneck, which every path passes.

python -m pipeline.models.cuts BASE     prints the layers of a base as JSON; run in a subprocess, and cached
"""

import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from pipeline import paths
from pipeline.errors import StarshiftError, suggest_name
from pipeline.files import hash_json, read_json, write_json
from pipeline.models.base import Base
from pipeline.subprocesses import run_command

# The lookahead keeps `block1` from matching the beginning of `block14_sepconv1`.
BLOCK_PATTERN = re.compile(r"[a-z_]*?\d+[a-z]?(?:_block_?\d+)?(?=_|$)")


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a network.

    Args:
        name: of the layer.
        shape: of its output for one picture.
        bottleneck: whether everything above depends on the picture only through it.
        parameters: their number.
    """

    name: str
    shape: tuple[int, ...]
    bottleneck: bool
    parameters: int


def list_layers(network: Any) -> list[LayerInfo]:
    """Lists the layers of a functional keras.Model from the picture upwards, each after all that it depends on."""
    import keras

    # `layers` would miss the `+` and `*` of ConvNeXt and MobileNetV3, which are operations but not layers.
    operations = network.operations
    place = {id(tensor): k for k, o in enumerate(operations) for tensor in keras.tree.flatten(o.output)}
    last_use = list(range(len(operations)))
    for k, operation in enumerate(operations):
        for tensor in keras.tree.flatten(operation.input):
            last_use[place[id(tensor)]] = max(last_use[place[id(tensor)]], k)
    layers, reach = [], 0
    for k, operation in enumerate(operations):
        # `reach` does not count the consumers of k yet: k is a bottleneck if no earlier output is used above it.
        alone = reach <= k
        reach = max(reach, last_use[k])
        outputs = keras.tree.flatten(operation.output)
        shape = tuple(outputs[0].shape[1:])
        parameters = operation.count_params() if isinstance(operation, keras.layers.Layer) else 0
        layers.append(LayerInfo(operation.name, shape, alone and len(outputs) == 1, int(parameters)))
    return layers


def load_layers(base: Base) -> list[LayerInfo]:
    """Lists the layers of a base up to its cut, from Keras in a subprocess once, and from the cache after that."""
    # Weights and pooling do not change the layers, so one entry serves all and nothing is downloaded.
    whole = replace(base, cut=None, pooling="avg", weights="none")
    key = hash_json({"anatomy": 1, **asdict(whole), "name": base.identity, "keras": version("keras")})[:16]
    path = paths.cache_folder("engines") / f"anatomy-{key}.json"
    stored = read_json(path)
    if stored is None:
        command = [sys.executable, "-m", "pipeline.models.cuts", json.dumps(asdict(whole))]
        process = run_command(command, paths.build_child_environment())
        if process.returncode:
            raise StarshiftError(f"{base.name} could not be looked into.", received=process.stderr.strip()[-2000:])
        # Libraries may print to stdout before the last line.
        stored = json.loads(process.stdout.splitlines()[-1])
        write_json(path, stored)
    layers = [LayerInfo(name, tuple(shape), alone, parameters) for name, shape, alone, parameters in stored]
    return truncate_layers(layers, base.cut)


def truncate_layers(layers: Sequence[LayerInfo], cut: str | None) -> list[LayerInfo]:
    """Returns the layers up to and including a cut; all layers without one."""
    end = next((place for place, layer in enumerate(layers) if layer.name == cut), len(layers))
    return list(layers[: end + 1])


def find_cut_shape(base: Base) -> tuple[int, ...]:
    """Returns height, width and channels of the maps at a base's cut."""
    return next(layer.shape for layer in load_layers(base) if layer.name == base.cut)


def list_blocks(layers: Sequence[LayerInfo]) -> list[str]:
    """Lists the names of blocks, such as `block5` or `conv4_block6`: prefixes of the names of layers with weights."""
    matches = (BLOCK_PATTERN.match(layer.name) for layer in layers if layer.parameters)
    return list(dict.fromkeys(match[0] for match in matches if match))


def find_first_trainable(layers: Sequence[LayerInfo], unfreeze: str) -> int:
    """Returns the index of the first layer that is trained.

    Args:
        layers: from the picture upwards.
        unfreeze: a layer's name, the beginning of a block's layers' names, a share of the layers or `all`.

    Raises:
        StarshiftError: there is no such layer.
    """
    if unfreeze == "all":
        return 0
    if re.fullmatch(r"0?\.\d+|1(\.0*)?", unfreeze) and float(unfreeze) > 0:
        return min(len(layers) - 1, math.floor(len(layers) * (1 - float(unfreeze))))
    names = [layer.name for layer in layers]
    if unfreeze in names:
        return names.index(unfreeze)
    # `block_1` must not match `block_14_expand`.
    begins = re.compile(rf"{re.escape(unfreeze)}(?!\d)")
    first = next((place for place, name in enumerate(names) if begins.match(name)), None)
    if first is not None:
        return first
    raise StarshiftError(
        f"There is no block or layer {unfreeze!r} to unfreeze from.",
        expected=", ".join(list_blocks(layers)),
        received=repr(unfreeze),
        remedy=suggest_name(unfreeze, [*list_blocks(layers), *names])
        or "a block, a layer's name, a share of the layers such as 0.3, or all",
    )


def find_cut(layers: Sequence[LayerInfo], unfreeze: str) -> LayerInfo | None:
    """Finds the cut: the last bottleneck below the first layer that is trained; None where all layers are trained.

    Raises:
        StarshiftError: there is no such layer, or nothing to train above the cut.
    """
    first = find_first_trainable(layers, unfreeze)
    # Layer 0 is the input; a cut there would cache the pictures themselves.
    places = [place for place in range(1, first) if layers[place].bottleneck]
    # Without weights below the cut there is no work that caching would save.
    if not places or not any(layer.parameters for layer in layers[1 : places[-1] + 1]):
        return None
    if not any(layer.parameters for layer in layers[places[-1] + 1 :]):
        raise StarshiftError(
            f"Above {layers[places[-1]].name} there is nothing to train.",
            expected=", ".join(list_blocks(layers)),
            received=repr(unfreeze),
        )
    return layers[places[-1]]


def find_output(network: Any, name: str) -> Any:
    """Returns the symbolic output of a layer, or of an operation that is no layer (ConvNeXt adds with `+`)."""
    return next(operation.output for operation in network.operations if operation.name == name)


def build_lower_part(network: Any, cut: str) -> Any:
    """Returns the part of a network up to a layer, as a keras.Model that shares its layers."""
    import keras

    return keras.Model(network.input, find_output(network, cut), name=network.name)


def build_upper_part(network: Any, cut: str) -> Any:
    """Returns the part of a network above a bottleneck, as a keras.Model that shares its layers."""
    import keras

    return keras.Model(find_output(network, cut), network.output, name=f"above_{cut}")


def compute_lr_factors(network: Any, boundaries: Sequence[str], decay: float) -> dict[str, float]:
    """Returns the learning-rate factor of each variable: `decay` to the number of block ends at or above its layer.

    Args:
        network: a keras.Model.
        boundaries: the layers that end a block, from the picture upwards.
        decay: 1 is one learning rate for all.
    """
    if decay == 1.0:
        return {}
    names = [layer.name for layer in network.layers]
    ends = sorted(names.index(name) for name in boundaries if name in names)
    return {
        variable.path: decay ** sum(end >= place for end in ends)
        for place, layer in enumerate(network.layers)
        for variable in layer.trainable_variables
    }


def main() -> None:
    """Prints the layers of a base as JSON on the last line."""
    from pipeline.models.build import build_network

    network = build_network(Base(**json.loads(sys.argv[1])))
    print(json.dumps([[layer.name, layer.shape, layer.bottleneck, layer.parameters] for layer in list_layers(network)]))


if __name__ == "__main__":
    main()
