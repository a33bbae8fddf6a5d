"""Kaggle on loopback for trying things by hand: `python -m tests.kaggle FOLDER` prints what to export, and serves.

FOLDER has bundles, <slug>.zip, and answers to score submissions by, <slug>.answers.csv with the columns id and label.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.kaggle.scoring import scorers_in
from tests.kaggle.server import Kaggle, environment
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions

if __name__ == "__main__":
    server, folder = Kaggle(), Path(sys.argv[1])
    storage = Storage(server)
    Datasets(server, storage)
    Competitions(server, storage, folder).scorers |= scorers_in(folder)
    for name, text in environment(server, Path(tempfile.mkdtemp())).items():
        print(f"export {name}={text}", flush=True)
    while True:
        time.sleep(3600)
