"""Records of pushed kernels in data/kernels/<competition>/: one JSON file a kernel, and one script a run.

A record is written before the push, so that a kernel is found again whatever happens to the answer or this machine.
"""

import itertools
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.files import write_json
from pipeline.old_names import FORMAT, read_versioned

RESUMABLE_STATES = ("interrupted", "killed")
UNFINISHED_STATES = ("pushing", "pushed", *RESUMABLE_STATES)


@dataclass(frozen=True, kw_only=True)
class KernelRecord:
    """One kernel: one session of a run.

    Args:
        competition: its name here.
        owner: of the kernel, a Kaggle account.
        slug: of the kernel; used for one push only.
        state: `pushing` (without an answer yet), `pushed` or `refused`; once it has ended, one of
            result_archive.SESSION_STATES.
        fingerprint: of the run.
        config: the run's config.json on this machine, without the fingerprint.
        job_digest: of the job.
        digest: of the payload.
        session: the number of this session of the run, from 1.
        accelerator: such as `NvidiaTeslaT4`, or `cpu`.
        seconds: after which Kaggle ends the session; its run ends earlier, see planning.compute_run_seconds.
        metadata: kernel-metadata.json.
        version: of the kernel, from Kaggle's answer.
        url: of its page.
        date: of the push, UTC.
        run: name of the run's folder, once its results are here.
        summary: of the session, once it has ended: `took`, `progress`, `rates`, ...
    """

    competition: str
    owner: str
    slug: str = ""
    state: str = "pushing"
    fingerprint: str
    config: dict[str, Any]
    job_digest: str
    digest: str
    session: int = 0
    accelerator: str
    seconds: float = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    url: str = ""
    date: str = ""
    run: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`owner/slug`."""
        return f"{self.owner}/{self.slug}"

    @property
    def page(self) -> str:
        """Its address, `owner/slug` until Kaggle has told it."""
        return self.url or self.ref

    @property
    def run_folder(self) -> Path:
        """The run's folder, once its results are here."""
        return paths.runs_folder(self.competition) / self.run

    @property
    def script_path(self) -> Path:
        """The run's script: all its sessions have one payload, even if the repository changes meanwhile."""
        return self.path.with_name(f"{self.digest[:16]}.py")

    @property
    def path(self) -> Path:
        """The record's file."""
        return paths.kernels_folder(self.competition) / f"{self.slug}.json"

    def save(self, **changes: Any) -> "KernelRecord":
        """Saves the record with changes, and returns it."""
        changed = replace(self, **changes)
        write_json(changed.path, {"format": FORMAT, **asdict(changed)})
        return changed


def list_records(competition: str) -> list[KernelRecord]:
    """Returns the records of a competition, the oldest first."""
    stored = [read_versioned(path, "kernel record") for path in paths.kernels_folder(competition).glob("*.json")]
    names = {one.name for one in fields(KernelRecord)}
    records = [KernelRecord(**{key: values[key] for key in values if key in names}) for values in stored if values]
    return sorted(records, key=lambda one: (one.date, len(one.slug), one.slug))


def find_unfinished(competition: str, fingerprint: str | None = None) -> KernelRecord | None:
    """Returns the last session of the newest run that is not finished, or of the run with this fingerprint."""
    last = {one.digest: one for one in list_records(competition) if one.state != "refused"}
    unfinished = [one for one in last.values() if one.state in UNFINISHED_STATES]
    return next((one for one in reversed(unfinished) if fingerprint in (None, one.fingerprint)), None)


def find_unused_title(competition: str, fingerprint: str) -> tuple[str, str]:
    """Returns a title that was not used before, and the slug that Kaggle makes of it.

    A slug is used once: so no status is an older run's, and a refused one, which Kaggle may not find again, is skipped.
    """
    used = {one.slug for one in list_records(competition)}
    beginning = f"Starshift {competition[:24].strip('-_')} {fingerprint[:8]}"
    titles = (f"{beginning} {number}" for number in itertools.count(1))
    return next((title, slugify(title)) for title in titles if slugify(title) not in used)


def slugify(title: str) -> str:
    """Returns the slug that Kaggle makes of a title: small letters, digits, hyphens for all between them."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
