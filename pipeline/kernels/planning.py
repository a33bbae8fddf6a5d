"""How long a session may take: the week's quota, which Kaggle tells, and a session's hours, which are known.

Kaggle ends a session after its hours and keeps nothing of it. So the run inside ends earlier: by `MARGIN_HOURS` here,
and by the time that packing its results would take (kernels/session.py).

Which rungs and folds fit in the hours of a session, from speeds that were measured.

Nothing is guessed: speeds come from earlier sessions on the accelerator, or else from this machine's own measurements,
and the plan says which. A GPU is taken to be at least as fast as this processor.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES, STRATEGIES, Competition, Recipe
from pipeline.errors import StarshiftError
from pipeline.files import read_json
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels import records
from pipeline.kernels.push import CPU
from pipeline.kernels.session import format_store_name
from pipeline.models import base as bases
from pipeline.models import inference_engines
from pipeline.runs import folder as runs
from pipeline.training.cross_validation import list_cached_views

log = logging.getLogger(__name__)
SESSION_HOURS = {"gpu": 9.0, CPU: 12.0}
"""Of a session. The quota's answer (kagglesdk 0.1.38) does not tell them; for GPUs 9 and 12 were reported in 2026."""
WEEK_HOURS = 30.0
"""Of GPU, where Kaggle does not say."""
MAX_SESSIONS = 2
"""GPU sessions at once."""
MARGIN_HOURS = 0.25
"""Of a session: for the container's start, which Kaggle's clock counts and ours cannot, and for keeping the output."""
MIN_HOURS = 0.2
"""A run shorter than this is not worth its session's start."""


@dataclass(frozen=True, kw_only=True)
class GPUQuota:
    """The week's GPU hours.

    Args:
        used: so far, and reserved by sessions that run.
        total: allowed.
        refresh: when the next week begins, as Kaggle says it.
    """

    used: float = 0.0
    total: float = WEEK_HOURS
    refresh: str = ""

    @property
    def left(self) -> float:
        """Hours."""
        return max(0.0, self.total - self.used)


def fetch_quota(api: Any) -> GPUQuota:
    """What Kaggle says of the week's GPU hours; its known limit where it does not say.

    Raises:
        KaggleError: the credentials are refused.
    """
    try:
        answer = call_with_retries(
            api.quota_view, purpose=CallPurpose(doing="asking for the week's quota"), safe_to_repeat=True
        )
    except KaggleError as error:
        if error.status == 401:
            raise
        log.warning("  warning: %s A full week's quota is assumed", error.message)
        return GPUQuota()
    gpu = answer.gpu_quota
    if gpu is None or gpu.total_time_allowed is None:
        return GPUQuota()
    used = sum(time.total_seconds() for time in (gpu.time_used, gpu.time_reserved) if time is not None)
    total = gpu.total_time_allowed.total_seconds()
    return GPUQuota(used=used / 3600, total=total / 3600, refresh=str(answer.quota_refresh_time or ""))


def compute_session_hours(accelerator: str, left: GPUQuota) -> float:
    """Returns the hours after which Kaggle is to end a session.

    Raises:
        StarshiftError: the week's quota is used up.
    """
    if accelerator == CPU:
        return SESSION_HOURS[CPU]
    hours = min(SESSION_HOURS["gpu"], left.left)
    if hours < MARGIN_HOURS + MIN_HOURS:
        raise StarshiftError(
            "The week's GPU quota is used up.",
            expected=f"more than {MARGIN_HOURS + MIN_HOURS:.2f} of {left.total:.1f} hours left",
            received=f"{left.left:.2f} hours that are neither used nor reserved by a session",
            remedy=f"wait until {left.refresh or 'the week is over'}, or --accelerator {CPU}",
        )
    return hours


def compute_run_seconds(session_seconds: float) -> float:
    """Returns the seconds from a session's start after which its run has to be ended and packed."""
    return session_seconds - MARGIN_HOURS * 3600


def format_quota(left: GPUQuota) -> str:
    """The budget in a line."""
    hours = f"{left.left:.1f} of {left.total:.0f} GPU hours left this week"
    gpu, cpu = SESSION_HOURS["gpu"], SESSION_HOURS[CPU]
    return f"budget    {hours}; a session lasts {gpu:.0f} h, {MAX_SESSIONS} at once; {cpu:.0f} h on {CPU}"


FORWARDS_PER_STEP = 3.0
"""A training step costs as many forward passes (Kaplan et al. 2020, Scaling Laws, section 2.1: 2N and 4N)."""
COLUMN_WIDTHS = (11, 9, 9, 15, 10)


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Pictures a second, and where they were measured.

    Args:
        rates: by progress.store_name.
        epochs: seconds an epoch, by rung.
        source: in words.
    """

    rates: Mapping[str, float]
    epochs: Mapping[str, float]
    source: str

    def features(self, recipe: Recipe) -> float | None:
        """Pictures a second through all of a recipe's bases, one after the other."""
        named = [bases.parse_base(text, recipe.size) for text in recipe.bases]
        found = [self.rates.get(format_store_name({"base": b.name, "cut": b.cut, "size": b.size})) for b in named]
        return 1 / sum(1 / rate for rate in found if rate) if all(found) else None


def load_throughput(competition: Competition, accelerator: str) -> Throughput:
    """What was measured: on this accelerator, or else here."""
    there = [one for one in records.list_records(competition.name) if one.accelerator == accelerator]
    rates = {name: rate for one in there for name, rate in one.words.get("rates", {}).items()}
    if rates:
        epochs = _load_epoch_seconds(competition, accelerator)
        return Throughput(rates=rates, epochs=epochs, source=f"measured on {accelerator} ({there[-1].date[:10]})")
    for text in competition.recipe.bases:
        base = bases.parse_base(text, competition.recipe.size)
        path = bases.find_weights_path(base)
        measured = (
            read_json(inference_engines.find_engine_folder(base) / "engine.json")
            if path is None or path.exists()
            else None
        )
        if measured and "keras" in measured["pictures_per_second"]:
            name = format_store_name({"base": base.name, "cut": base.cut, "size": base.size})
            rates[name] = measured["pictures_per_second"]["keras"]
    cores = inference_engines.describe_machine()["cores"]
    return Throughput(
        rates=rates,
        epochs=_load_epoch_seconds(competition, ""),
        source=f"by Keras here, {cores} cores; {accelerator} unmeasured",
    )


def _load_epoch_seconds(competition: Competition, accelerator: str) -> dict[str, float]:
    """Seconds an epoch by rung, from the competition's runs that were made there (here, where it is empty)."""
    found = {}
    for folder, results in runs.list_finished_runs(competition.name):
        made = (read_json(folder / "kernel.json") or {}).get("accelerator", "")
        recipe = (read_json(folder / "config.json") or {}).get("competition", {}).get("recipe", {})
        if made == accelerator and results.get("seconds_an_epoch"):
            found[str(recipe.get("rung"))] = float(results["seconds_an_epoch"])
    return found


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """One rung in the plan.

    Args:
        rung: its name.
        before: hours until the first fold.
        fold: hours a fold, at most.
        folds: how many the recipe has.
    """

    rung: str
    before: float
    fold: float
    folds: int

    def fitting(self, hours: float) -> int:
        """How many folds fit."""
        room = hours - self.before
        return 0 if room < 0 else self.folds if self.fold <= 0 else min(self.folds, int(room / self.fold))

    def sessions(self, hours: float) -> int:
        """How many sessions of so many hours all folds take, the part before them once."""
        return max(1, -int(-(self.before + self.fold * self.folds) // hours))


def estimate_stages(competition: Competition, counts: tuple[int, int], known: Throughput) -> list[StageEstimate]:
    """Hours of each rung whose speed is known; upper bounds, for training may stop early.

    Args:
        competition: its recipe says folds, views and epochs.
        counts: training and test pictures.
        known: what was measured.
    """
    recipe, (train, test) = competition.recipe, counts
    rate, found = known.features(recipe), []
    for rung in STRATEGIES:
        regime = recipe.training.resolved(rung)
        networked = rung in SCRATCH_STRATEGIES
        if not networked and rate is None:
            continue
        cached = len(list_cached_views(regime) if rung in ("frozen", "finetune") else recipe.training_views)
        views = max(cached, len(recipe.views))
        seconds = 0.0 if networked or rate is None else (train * views + test * len(recipe.views)) / rate
        epoch = known.epochs.get(rung)
        if epoch is None and rung == "finetune" and rate is not None:
            epoch = train * FORWARDS_PER_STEP / rate
        if epoch is None and rung in (*SCRATCH_STRATEGIES, "frozen"):
            continue
        fold = 0.0 if rung == "features" else float(epoch or 0) * float(regime.epochs or 0)
        found.append(StageEstimate(rung=rung, before=seconds / 3600, fold=fold / 3600, folds=recipe.folds))
    return found


def format_plan(competition: Competition, accelerator: str, hours: float) -> list[str]:
    """The plan, line by line.

    Args:
        competition: what is to be run.
        accelerator: where.
        hours: of a session's run.
    """
    summary = read_json(paths.competition_folder(competition.name) / "summary.json")
    known = load_throughput(competition, accelerator)
    planned = estimate_stages(competition, (summary["train"], summary["test"]), known) if summary else []
    if not planned:
        reason = "speeds" if summary else "numbers of pictures"
        return [f"plan      unknown {reason}; one run here or there, --debug too, measures them"]
    rows = [["rung", "before", "a fold", f"in {hours:.1f} h", "sessions"]]
    rows += [_format_row(step, hours, competition.recipe.rung) for step in planned]
    return [f"plan      {known.source}; at most:"] + ["          " + _align_columns(row) for row in rows]


def _format_row(step: StageEstimate, hours: float, chosen: str) -> list[str]:
    fitting = f"{step.fitting(hours)} of {step.folds} folds"
    mark = " <" if step.rung == chosen else ""
    return [step.rung, f"{step.before:.2f} h", f"{step.fold:.2f} h", fitting, f"{step.sessions(hours)}{mark}"]


def _align_columns(row: Sequence[str]) -> str:
    return "".join(text.ljust(width) for text, width in zip(row, COLUMN_WIDTHS, strict=True)).rstrip()
