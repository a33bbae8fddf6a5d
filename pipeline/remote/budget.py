"""How long a session may take: the week's quota, which Kaggle tells, and a session's hours, which are known.

Kaggle ends a session after its hours and keeps nothing of it. So the run inside ends earlier: by `MARGIN_HOURS` here,
and by the time that packing its results would take (remote/session.py).
"""

import logging
from dataclasses import dataclass
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle.client import KaggleError, Purpose, call
from pipeline.remote.kernel import CPU

log = logging.getLogger(__name__)
SESSION_HOURS = {"gpu": 9.0, CPU: 12.0}
"""Of a session. The quota's answer (kagglesdk 0.1.38) does not tell them; for GPUs 9 and 12 were reported in 2026."""
WEEK_HOURS = 30.0
"""Of GPU, where Kaggle does not say."""
SESSIONS = 2
"""GPU sessions at once."""
MARGIN_HOURS = 0.25
"""Of a session: for the container's start, which Kaggle's clock counts and ours cannot, and for keeping the output."""
LEAST_HOURS = 0.2
"""A run shorter than this is not worth its session's start."""


@dataclass(frozen=True, kw_only=True)
class Quota:
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


def quota(api: Any) -> Quota:
    """What Kaggle says of the week's GPU hours; its known limit where it does not say.

    Raises:
        KaggleError: the credentials are refused.
    """
    try:
        answer = call(api.quota_view, purpose=Purpose(doing="asking for the week's quota"), safe_to_repeat=True)
    except KaggleError as error:
        if error.status == 401:
            raise
        log.warning("  warning: %s A full week's quota is assumed", error.message)
        return Quota()
    gpu = answer.gpu_quota
    if gpu is None or gpu.total_time_allowed is None:
        return Quota()
    used = sum(time.total_seconds() for time in (gpu.time_used, gpu.time_reserved) if time is not None)
    total = gpu.total_time_allowed.total_seconds()
    return Quota(used=used / 3600, total=total / 3600, refresh=str(answer.quota_refresh_time or ""))


def session_hours(accelerator: str, left: Quota) -> float:
    """Returns the hours after which Kaggle is to end a session.

    Raises:
        StarshiftError: the week's quota is used up.
    """
    if accelerator == CPU:
        return SESSION_HOURS[CPU]
    hours = min(SESSION_HOURS["gpu"], left.left)
    if hours < MARGIN_HOURS + LEAST_HOURS:
        raise StarshiftError(
            "The week's GPU quota is used up.",
            expected=f"more than {MARGIN_HOURS + LEAST_HOURS:.2f} of {left.total:.1f} hours left",
            received=f"{left.left:.2f} hours that are neither used nor reserved by a session",
            remedy=f"wait until {left.refresh or 'the week is over'}, or --accelerator {CPU}",
        )
    return hours


def run_seconds(session_seconds: float) -> float:
    """Returns the seconds from a session's start after which its run has to be ended and packed."""
    return session_seconds - MARGIN_HOURS * 3600


def told(left: Quota) -> str:
    """The budget in a line."""
    hours = f"{left.left:.1f} of {left.total:.0f} GPU hours left this week"
    gpu, cpu = SESSION_HOURS["gpu"], SESSION_HOURS[CPU]
    return f"budget    {hours}; a session lasts {gpu:.0f} h, {SESSIONS} at once; {cpu:.0f} h on {CPU}"
