"""How long a session may take: the week's quota, which Kaggle tells, and a session's hours, which are known."""

import logging
from dataclasses import dataclass
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.kaggle.client import KaggleError, Purpose, call
from pipeline.remote.kernel import CPU

log = logging.getLogger(__name__)
SESSION_HOURS = 12.0
"""Of a CPU or GPU session."""
WEEK_HOURS = 30.0
"""Of GPU, where Kaggle does not say."""
SESSIONS = 2
"""GPU sessions at once."""
MARGIN_HOURS = 0.5
"""Of a session: for its start, and for packing what it has before Kaggle ends it."""
LEAST_HOURS = 0.2
"""A session shorter than this is not worth its start."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """The week's GPU hours.

    Args:
        used: so far.
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
    used = gpu.time_used.total_seconds() if gpu.time_used is not None else 0.0
    total = gpu.total_time_allowed.total_seconds()
    return Quota(used=used / 3600, total=total / 3600, refresh=str(answer.quota_refresh_time or ""))


def session_hours(accelerator: str, left: Quota) -> float:
    """The hours that a session's run may take.

    Raises:
        StarshiftError: the week's quota is used up.
    """
    if accelerator == CPU:
        return SESSION_HOURS - MARGIN_HOURS
    hours = min(SESSION_HOURS, left.left) - MARGIN_HOURS
    if hours < LEAST_HOURS:
        raise StarshiftError(
            "The week's GPU quota is used up.",
            expected=f"more than {MARGIN_HOURS + LEAST_HOURS} of {left.total:.1f} hours left",
            received=f"{left.left:.2f} hours",
            remedy=f"wait until {left.refresh or 'the week is over'}, or --accelerator {CPU}",
        )
    return hours


def told(left: Quota) -> str:
    """The budget in a line."""
    hours = f"{left.left:.1f} of {left.total:.0f} GPU hours left this week"
    return f"budget    {hours}; a session lasts {SESSION_HOURS:.0f} h, {SESSIONS} at once"
