"""The command line: `invoke run --comp dog-breed`. The tasks lie in pipeline/commands/, one file a topic."""

from pipeline.commands.audit import audit
from pipeline.commands.ensemble import ensemble, finish, pseudo
from pipeline.commands.kaggle import submit, weights
from pipeline.commands.learning import blocks, ladder, pretrain
from pipeline.commands.looking import augmented, cache, comps, show
from pipeline.commands.remote import kernel
from pipeline.commands.running import download, features, run
from pipeline.commands.runs import compare, runs
from pipeline.commands.scout import scout, views
