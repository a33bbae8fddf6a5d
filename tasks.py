"""The command line: `invoke run --comp dog-breed`. The tasks lie in pipeline/cli/, one file a topic."""

import os
import signal
import sys
from types import FrameType

from invoke import Collection


def _interrupt(*_: int | FrameType | None) -> None:
    """Answers Ctrl-C until a task runs: an import that is interrupted would end in a traceback, or in exit code 1."""
    os.write(2, b"interrupted\n")
    os._exit(130)


signal.signal(signal.SIGINT, _interrupt)

from pipeline.cli.ensemble import ensemble, finish, pseudo
from pipeline.cli.experiments import audit, blocks, distill, ladder, layers, pretrain, scout, views
from pipeline.cli.inspect import augmented, cache, compare, comps, disk, explain, export, report, show
from pipeline.cli.kaggle import submit, weights
from pipeline.cli.labels import labels
from pipeline.cli.learnware import predict, store
from pipeline.cli.run import download, features, kernel, run
from pipeline.cli.runs import runs
from pipeline.cli.serve import serve

ns = Collection.from_module(sys.modules[__name__])
ns.add_collection(labels)
ns.add_collection(runs)
ns.add_collection(store)
