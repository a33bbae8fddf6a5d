"""What was pushed to Kaggle, remembered in data/kernels/<competition>/: one JSON file a kernel, and its script.

Written before the push, so that a kernel is found again whatever happens to the answer, the network or this machine.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.files import read_json, write_json, write_text
from pipeline.kernels.bundle import replace_session

ACTIVE_STATES = ("pushing", "pushed")
KERNEL_STATES = (*ACTIVE_STATES, "refused", "complete", "interrupted", "failed")


@dataclass(frozen=True, kw_only=True)
class KernelRecord:
    """One kernel: one session of a run.

    Args:
        competition: its name here.
        owner: of the kernel, a Kaggle account.
        slug: of the kernel; used for one push only.
        state: one of STATES. `pushing`: the answer is not there yet. The last three: it is home.
        fingerprint: of the run.
        config: what the run's config.json says here, without the fingerprint.
        order: digest of what is to be done.
        digest: of the payload.
        session: the number of this session of the run, from 1.
        accelerator: such as `NvidiaTeslaT4`, or `cpu`.
        seconds: after which Kaggle ends the session; its run ends earlier, see planning.compute_run_seconds.
        metadata: what was sent beside the script.
        version: of the kernel, from Kaggle's answer.
        url: of its page.
        date: of the push, UTC.
        run: name of the run's folder, once it is home.
        words: what the session says of itself, once it is home: `took`, `rates`, ...
    """

    competition: str
    owner: str
    slug: str
    state: str = "pushing"
    fingerprint: str
    config: dict[str, Any]
    order: str
    digest: str
    session: int
    accelerator: str
    seconds: float
    metadata: dict[str, Any]
    version: int = 1
    url: str = ""
    date: str = ""
    run: str = ""
    words: dict[str, Any]

    @property
    def ref(self) -> str:
        """`owner/slug`."""
        return f"{self.owner}/{self.slug}"

    @property
    def page(self) -> str:
        """Its address, `owner/slug` until Kaggle has told it."""
        return self.url or self.ref

    @property
    def path(self) -> Path:
        """The file that remembers it."""
        return paths.kernels_folder(self.competition) / f"{self.slug}.json"

    def save(self, **changes: Any) -> "KernelRecord":
        """The same with changes, remembered."""
        changed = replace(self, **changes)
        write_json(changed.path, asdict(changed))
        return changed


def list_records(competition: str) -> list[KernelRecord]:
    """What was pushed for a competition, the oldest first."""
    found = [read_json(path) for path in paths.kernels_folder(competition).glob("*.json")]
    return sorted(
        (KernelRecord(**words) for words in found if words), key=lambda one: (one.date, len(one.slug), one.slug)
    )


def find_unfinished(competition: str, fingerprint: str | None = None) -> KernelRecord | None:
    """The last session of the newest run that is under way or was interrupted; of this run, if one is named."""
    last = {one.digest: one for one in list_records(competition) if one.state != "refused"}
    found = [one for one in last.values() if one.state in (*ACTIVE_STATES, "interrupted")]
    return next((one for one in reversed(found) if fingerprint in (None, one.fingerprint)), None)


def find_unused_title(competition: str, fingerprint: str) -> tuple[str, str]:
    """A title that was not used here before, and the slug that Kaggle makes of it.

    A slug is used once: then no status is of an older run, and one whose push was refused, which Kaggle may not find
    again, is left alone.
    """
    taken = {one.slug for one in list_records(competition)}
    for number in range(1, len(taken) + 2):
        title = f"Starshift {competition[:24].strip('-_')} {fingerprint[:8]} {number}"
        slug = slugify(title)
        if slug not in taken:
            break
    return title, slug


def slugify(title: str) -> str:
    """What Kaggle makes of a title: small letters, digits, and a hyphen for everything between them."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def write_script(one: KernelRecord, script: str) -> None:
    """Keeps the script of a run: all its sessions have one payload, whatever happens to the repository meanwhile."""
    write_text(_find_script_path(one), script)


def read_script(one: KernelRecord, session: Mapping[str, Any]) -> str:
    """The kept script, for one session."""
    return replace_session(_find_script_path(one).read_text(encoding="utf-8"), session)


def _find_script_path(one: KernelRecord) -> Path:
    return paths.kernels_folder(one.competition) / f"{one.digest[:16]}.py"
