"""Plans a session: its hours within the week's GPU quota, and the strategies and folds that fit in them.

Kaggle ends a session after its hours, and may keep nothing of it. So the run inside ends earlier: by `MARGIN_HOURS`,
and by the time that packing its results would take (session.py). Speeds are those that earlier sessions on the
accelerator measured; this machine's would tell nothing about a GPU.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import paths
from pipeline.config import SCRATCH_STRATEGIES, STRATEGIES, Competition
from pipeline.errors import require
from pipeline.figures.text_table import format_text_table
from pipeline.files import read_json
from pipeline.kaggle.api_errors import CallPurpose, KaggleError
from pipeline.kaggle.retry import call_with_retries
from pipeline.kernels import records
from pipeline.kernels.push import CPU
from pipeline.kernels.records import KernelRecord
from pipeline.kernels.session import format_store_name
from pipeline.models import base as bases
from pipeline.runs import folder as runs
from pipeline.training.cross_validation import FORWARDS_PER_STEP, list_cached_views

log = logging.getLogger(__name__)
SESSION_HOURS = {"gpu": 9.0, CPU: 12.0}
"""Of a session. The quota's answer (kagglesdk 0.1.38) does not tell them; for GPUs 9 and 12 were reported in 2026."""
BELOW_LIMIT_HOURS = 1 / 60
"""kagglesdk 0.1.38: session_timeout_seconds `must be lower than the global maximum`."""
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
    """Returns the week's GPU hours, Kaggle's usual limit where it does not answer.

    Raises:
        KaggleError: the credentials are refused.
    """
    try:
        purpose = CallPurpose(doing="asking for the week's quota")
        answer = call_with_retries(api.quota_view, purpose=purpose, safe_to_repeat=True)
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


def compute_session_hours(accelerator: str, quota: GPUQuota) -> float:
    """Returns the hours after which Kaggle is to end a session; less than its limit, as the SDK demands.

    Raises:
        StarshiftError: the week's quota is used up.
    """
    if accelerator == CPU:
        return SESSION_HOURS[CPU] - BELOW_LIMIT_HOURS
    hours = min(SESSION_HOURS["gpu"] - BELOW_LIMIT_HOURS, quota.left)
    require(
        hours >= MARGIN_HOURS + MIN_HOURS,
        "The week's GPU quota is used up.",
        expected=f"more than {MARGIN_HOURS + MIN_HOURS:.2f} of {quota.total:.1f} hours left",
        received=f"{quota.left:.2f} hours that are neither used nor reserved by a session",
        remedy=f"wait until {quota.refresh or 'the week is over'}, or --accelerator {CPU}",
    )
    return hours


def limit_hours(hours: float, sessions: Iterable[KernelRecord]) -> float:
    """Returns the hours of a run's next session: no more than those after which Kaggle killed one of its sessions.

    A session that was killed in the first half of its time met an accident, not a limit.
    """
    killed = [one for one in sessions if one.state == "killed" and one.summary["took"] > one.seconds / 2]
    return min([hours, *(max(one.summary["took"] / 3600, MARGIN_HOURS + MIN_HOURS) for one in killed)])


def compute_run_seconds(session_seconds: float) -> float:
    """Returns the seconds from a session's start after which its run has to be ended and packed."""
    return session_seconds - MARGIN_HOURS * 3600


def format_quota(quota: GPUQuota) -> str:
    """Formats the quota in a line."""
    hours = f"{quota.left:.1f} of {quota.total:.0f} GPU hours left this week"
    gpu, cpu = SESSION_HOURS["gpu"], SESSION_HOURS[CPU]
    return f"budget    {hours}; a session lasts {gpu:.0f} h, {MAX_SESSIONS} at once; {cpu:.0f} h on {CPU}"


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Speeds that earlier sessions on an accelerator measured.

    Args:
        features: pictures a second through all of a recipe's bases in turn; None where one is unknown.
        epochs: seconds an epoch, by strategy.
        date: of the last session; empty where there was none.
    """

    features: float | None
    epochs: Mapping[str, float]
    date: str


def load_throughput(competition: Competition, accelerator: str) -> Throughput:
    """Returns the speeds of a competition's earlier sessions on an accelerator."""
    used = [bases.parse_base(text, competition.recipe.size) for text in competition.recipe.bases]
    names = [format_store_name({"base": base.name, "cut": base.cut, "size": base.size}) for base in used]
    sessions = [one for one in records.list_records(competition.name) if one.accelerator == accelerator]
    measured = {name: rate for one in sessions for name, rate in one.summary.get("rates", {}).items()}
    is_known = all(measured.get(name) for name in names)
    return Throughput(
        features=1 / sum(1 / measured[name] for name in names) if is_known else None,
        epochs=_load_epoch_seconds(competition, accelerator),
        date=sessions[-1].date[:10] if sessions else "",
    )


def _load_epoch_seconds(competition: Competition, accelerator: str) -> dict[str, float]:
    """Returns seconds an epoch by strategy, from the runs on an accelerator."""
    seconds = {}
    for folder, results in runs.list_finished_runs(competition.name):
        used = (read_json(folder / "kernel.json") or {}).get("accelerator", "")
        recipe = runs.read_config(folder).get("competition", {}).get("recipe", {})
        if used == accelerator and results.get("seconds_per_epoch"):
            seconds[str(recipe.get("strategy"))] = float(results["seconds_per_epoch"])
    return seconds


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """One strategy in the plan.

    Args:
        strategy: its name.
        before: hours until the first fold.
        fold: hours a fold, at most.
        folds: how many the recipe has.
    """

    strategy: str
    before: float
    fold: float
    folds: int

    def fitting(self, hours: float) -> int:
        """Returns how many folds fit."""
        room = hours - self.before
        return 0 if room < 0 else self.folds if self.fold <= 0 else min(self.folds, int(room / self.fold))

    def sessions(self, hours: float) -> int:
        """Returns how many sessions of so many hours all folds take, the part before them once."""
        return max(1, -int(-(self.before + self.fold * self.folds) // hours))


def estimate_stages(competition: Competition, counts: tuple[int, int], speeds: Throughput) -> list[StageEstimate]:
    """Estimates the hours of each strategy whose speed is known; upper bounds, for training may stop early.

    Args:
        competition: its recipe says folds, views and epochs.
        counts: training and test pictures.
        speeds: measured ones.
    """
    recipe, (train, test) = competition.recipe, counts
    rate, stages = speeds.features, []
    epochs = ({"finetune": train * FORWARDS_PER_STEP / rate} if rate else {}) | {**speeds.epochs, "features": 0.0}
    for strategy in (name for name in STRATEGIES if name in epochs):
        training, extraction = recipe.training.resolved(strategy), 0.0
        if strategy not in SCRATCH_STRATEGIES:
            if rate is None:
                continue
            cached = list_cached_views(training) if strategy in ("frozen", "finetune") else recipe.training_views
            views = max(len(cached), len(recipe.views))
            extraction = (train * views + test * len(recipe.views)) / rate
        fold = epochs[strategy] * float(training.epochs or 0)
        stages.append(StageEstimate(strategy=strategy, before=extraction / 3600, fold=fold / 3600, folds=recipe.folds))
    return stages


def format_plan(competition: Competition, accelerator: str, hours: float) -> list[str]:
    """Formats the plan of a competition on an accelerator, a line each, for sessions of so many hours."""
    summary = read_json(paths.competition_folder(competition.name) / "summary.json")
    speeds = load_throughput(competition, accelerator)
    stages = estimate_stages(competition, (summary["train"], summary["test"]), speeds) if summary else []
    if not stages:
        reason = "speeds; one run there" if summary else "numbers of pictures; one run here"
        return [f"plan      unknown {reason}, --debug too, measures them"]
    rows = [
        [
            *(stage.strategy, f"{stage.before:.2f} h", f"{stage.fold:.2f} h"),
            f"{stage.fitting(hours)} of {stage.folds} folds",
            f"{stage.sessions(hours)}{' <' if stage.strategy == competition.recipe.strategy else ''}",
        ]
        for stage in stages
    ]
    table = format_text_table(["strategy", "before", "a fold", f"in {hours:.1f} h", "sessions"], rows, indent=10)
    return [f"plan      measured on {accelerator} ({speeds.date}); at most:", *(f"          {line}" for line in table)]
