"""Several devices: a network mirrored over two logical processors learns, and predicts the same once reloaded."""

import subprocess
import sys

import pytest

from pipeline.paths import REPOSITORY
from pipeline.training.device import choose_dtype_policy
from tests.conftest import needs_tensorflow

CODE = """
import sys
import numpy as np
import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from pathlib import Path
from pipeline.config import Training
from pipeline.training import device
from pipeline.training.data_loader import TrainSequence
from pipeline.training.inference import predict
from pipeline.training.trainer import Trainer, ValidationSet

class Source:
    def take(self, positions, epoch):
        return np.stack([np.random.default_rng(int(p)).normal(p % 2, 0.3, 4) for p in positions]).astype(np.float32)

keras.utils.set_random_seed(0)
labels = np.arange(40) % 2
with device.open_device_scope(["CPU:0", "CPU:1"]):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.1),
                              keras.layers.Dense(2, activation="softmax")])
    training = Training(batch_size=8, epochs=8, patience=8, learning_rate=1e-1, ema=0.5).resolved("scratch")
    batches = TrainSequence(Source(), np.arange(30), labels[:30], 2, training, seed=0)
    validation = ValidationSet(source=Source(), positions=np.arange(30, 40), labels=labels[30:], higher=True,
                score=lambda labels, probabilities: float((probabilities.argmax(axis=1) == labels).mean()))
    trainer = Trainer(name="mirrored", model=model, batches=batches, validation=validation, training=training, seed=0,
                    file=Path(sys.argv[1]) / "mirrored.npz", fingerprint="mirrored")
    progress = trainer.run()
    assert model.distribute_strategy.num_replicas_in_sync == 2
    assert progress.best_score == 1.0, progress.history
    before = predict(model, Source(), np.arange(13))
    assert before.shape == (13, 2)
plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"),
                          keras.layers.Dense(2, activation="softmax")])
plain.set_weights([np.array(v.numpy()) for v in model.trainable_variables])
plain.save(Path(sys.argv[1]) / "mirrored.keras")
after = predict(keras.models.load_model(Path(sys.argv[1]) / "mirrored.keras"), Source(), np.arange(13))
np.testing.assert_allclose(before, after, atol=1e-6)
print("the same")
"""


@needs_tensorflow
@pytest.mark.slow
def test_two_devices_train_one_network_and_the_reloaded_model_predicts_the_same(tmp_path):
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("the same"), done.stderr[-3000:]


def test_the_precision_follows_the_weakest_gpu():
    assert choose_dtype_policy([{"compute_capability": (9, 0)}]) == "mixed_bfloat16"
    assert choose_dtype_policy([{"compute_capability": (7, 5)}, {"compute_capability": (8, 0)}]) == "mixed_float16"
    assert choose_dtype_policy([{}]) == "float32"
