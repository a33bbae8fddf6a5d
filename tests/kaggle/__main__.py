"""Kaggle on loopback for trying things by hand: `python -m tests.kaggle FOLDER` prints what to export, and serves.

FOLDER has bundles, <slug>.zip, and answers to score submissions by, <slug>.answers.csv with the columns id and label.
Unpacked bundles, <slug>/, are mounted in kernels, which run here.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.kaggle.scoring import scorers_in
from tests.kaggle.server import Kaggle, environment
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_kernels import Kernels
from tests.kaggle.serving_storage import Storage
from tests.kaggle.serving_submissions import Competitions

if __name__ == "__main__":
    server, folder = Kaggle(), Path(sys.argv[1])
    storage = Storage(server)
    kernels = Kernels(server, storage, Path(tempfile.mkdtemp()), stored=Datasets(server, storage))
    kernels.competitions |= {path.name: path for path in folder.iterdir() if path.is_dir()}
    Competitions(server, storage, folder).scorers |= scorers_in(folder)
    for name, text in environment(server, Path(tempfile.mkdtemp())).items():
        print(f"export {name}={text}", flush=True)
    while True:
        time.sleep(3600)
