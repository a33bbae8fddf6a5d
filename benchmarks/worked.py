"""When Keras was done with its last batch; what comes after it is waiting, see pipeline/models/keras_input.py."""

import time

import keras


class Worked(keras.callbacks.Callback):
    """Notes when the last batch was done."""

    def on_train_end(self, logs: object = None) -> None:
        """See keras.callbacks.Callback."""
        self.at = time.perf_counter()

    def on_predict_end(self, logs: object = None) -> None:
        """See keras.callbacks.Callback."""
        self.at = time.perf_counter()
