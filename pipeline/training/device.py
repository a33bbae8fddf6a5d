"""Prepares the device: determinism on a processor, half precision where a GPU gains by it, all GPUs together.

Under JAX, XLA is deterministic on a processor without being told so, and one GPU computes.

On the processor float32 is kept: mixed bfloat16 took 54 ms a picture where float32 took 39 (MobileNetV2 at 160 px, all
layers trained, batches of 32, 2 cores with AVX512_BF16, TensorFlow 2.21). A recipe may ask for it: wide
convolutions gain by it.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import keras

from pipeline.models.backend import require_tensorflow


def prepare_device(seed: int, precision: str | None = "auto") -> str:
    """Seeds everything, makes the processor deterministic, and chooses the precision.

    Args:
        seed: of everything random.
        precision: `auto`, `float32` or `bfloat16`.

    Returns:
        A description of the device, such as `CPU float32, 2 cores`.
    """
    keras.utils.set_random_seed(seed)
    details = _prepare_tensorflow() if keras.backend.backend() == "tensorflow" else _describe_jax_gpus()
    policy = {"bfloat16": "mixed_bfloat16", "float32": "float32"}.get(precision or "auto", choose_dtype_policy(details))
    keras.config.set_dtype_policy(policy)
    return f"{len(details)} GPU {policy}" if details else f"CPU {policy}, {os.cpu_count()} cores"


def _prepare_tensorflow() -> list[dict[str, Any]]:
    """Starts TensorFlow. Returns the details of each GPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        tf.config.experimental.enable_op_determinism()
        tf.zeros(1)  # starts the runtime
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus]


def _describe_jax_gpus() -> list[dict[str, Any]]:
    """Returns the details of the GPU that JAX computes on, as TensorFlow gives them; none for a processor."""
    import jax

    device = jax.devices()[0]
    if device.platform != "gpu":
        return []
    return [{"compute_capability": tuple(int(part) for part in device.compute_capability.split("."))}]


def choose_dtype_policy(details: Sequence[dict[str, Any]]) -> str:
    """Chooses the precision for GPUs: bfloat16 from compute capability 8, float16 from 7 (tensor cores), else float32.

    Args:
        details: of each GPU; none for a processor.
    """
    if not details:
        return "float32"
    weakest = min(detail.get("compute_capability", (0, 0)) for detail in details)
    if weakest >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if weakest >= (7, 0) else "float32"


def open_device_scope(devices: Sequence[str] | None = None) -> contextlib.AbstractContextManager[Any]:
    """Opens the scope in which networks are built and compiled: mirrored over several devices, or none for one.

    Args:
        devices: such as `["CPU:0", "CPU:1"]`; None takes all GPUs, and under JAX the first.

    Raises:
        StarshiftError: several devices under JAX.
    """
    if devices is not None and len(devices) > 1:
        require_tensorflow("Training on several devices", "train on one device")
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    names = list(devices or [f"GPU:{k}" for k in range(len(tf.config.list_logical_devices("GPU")))])
    return tf.distribute.MirroredStrategy(names).scope() if len(names) > 1 else contextlib.nullcontext()
