"""The command line: `invoke run --comp dog-breed`. The tasks lie in pipeline/commands/, one file a topic."""

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

from pipeline.commands.audit import audit
from pipeline.commands.distill import distill
from pipeline.commands.ensemble import ensemble, finish, pseudo
from pipeline.commands.kaggle import submit, weights
from pipeline.commands.learning import blocks, ladder, pretrain
from pipeline.commands.looking import augmented, cache, comps, show
from pipeline.commands.predicting import predict
from pipeline.commands.remote import kernel
from pipeline.commands.running import download, features, run
from pipeline.commands.runs import compare, runs
from pipeline.commands.scout import scout, views
from pipeline.commands.store import store

ns = Collection.from_module(sys.modules[__name__])
ns.add_collection(store)
