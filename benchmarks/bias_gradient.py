"""A convolution's gradients with its bias as oneDNN joins them, and by themselves, alternating in one run.

    python -m benchmarks.bias_gradient

The convolution is MobileNetV2's largest: `block_1_expand` at 160 px, 16 to 96 channels on maps of 80 x 80, a batch of
32. TensorFlow joins the two gradients wherever the offset is added as a bias; `pipeline/training/networks.py`
avoids it.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

BATCH, SIDE, WIDTH, CHANNELS, ROUNDS = 32, 80, 16, 96, 9


def as_bias(maps: Any, kernel: Any, offset: Any) -> Any:
    """The usual way: a convolution, then its bias."""
    return tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, "VALID"), offset)


def as_product(maps: Any, kernel: Any, offset: Any) -> Any:
    """The same as one matrix product."""
    rows = tf.nn.bias_add(tf.matmul(tf.reshape(maps, (-1, WIDTH)), tf.reshape(kernel, (WIDTH, CHANNELS))), offset)
    return tf.reshape(rows, (BATCH, SIDE, SIDE, CHANNELS))


def stepping(layer: Callable[..., Any]) -> Callable[[], Any]:
    """A function that computes the gradients of the kernel, the offset and the maps."""
    maps = tf.Variable(tf.random.normal((BATCH, SIDE, SIDE, WIDTH), seed=0))
    kernel, offset = tf.Variable(tf.random.normal((1, 1, WIDTH, CHANNELS), seed=1)), tf.Variable(tf.zeros(CHANNELS))

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.relu6(layer(maps, kernel, offset)))
        return [tf.reduce_sum(part) for part in tape.gradient(loss, [kernel, offset, maps])]

    return gradients


def main() -> None:
    """Prints milliseconds of both ways, and their ratio."""
    ways = {"bias": stepping(as_bias), "product": stepping(as_product)}
    for step in ways.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, step in ways.items():
            started = time.perf_counter()
            [float(value) for value in step()]
            seconds[name].append(time.perf_counter() - started)
    ratios = [bias / product for bias, product in zip(seconds["bias"], seconds["product"], strict=True)]
    for name, each in seconds.items():
        print(f"{name:<8} {1e3 * statistics.median(each):6.1f} ms")
    print(f"ratio    {statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
