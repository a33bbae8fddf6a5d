"""Packs the repository and a job into one Python script, the only file that a push sends to Kaggle.

The payload is the same for every session of a run, to the bit: files sorted, times and owners left out.
"""

import base64
import hashlib
import io
import json
import lzma
import tarfile
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import require
from pipeline.kernels.job import JobSpec

PACKAGES = ("competitions", "pipeline")
EXCLUDED_SUFFIXES = {".h5", ".pyc"}
"""Suffixes: weights travel as datasets, petite's too (1.7 MB)."""
MAX_SCRIPT_BYTES = 900_000
"""Bytes of a script. Kaggle's limit is commonly said to be 1 MB, which nobody confirms."""
JOB_FILE = "order.json"
LINE_WIDTH = 120
XZ_PRESET = 9
SCRIPT_END = """
if __name__ == "__main__" and (code := start(DIGEST, json.loads(SESSION), PAYLOAD)):
    sys.exit(code)
"""


@dataclass(frozen=True, kw_only=True)
class CodeBundle:
    """The repository and a job, compressed.

    Args:
        job: of the run.
        payload: a tar file, compressed by xz.
    """

    job: JobSpec
    payload: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the payload, as 64 hex digits."""
        return hashlib.sha256(self.payload).hexdigest()

    def script(self, session: Mapping[str, Any]) -> str:
        """Returns the Python script of one session, of at most MAX_SCRIPT_BYTES.

        Args:
            session: what differs between the sessions of one run; plain JSON values.

        Raises:
            StarshiftError: it is too large.
        """
        competition = self.job.competition
        method = f"strategy {competition.recipe.strategy}, {', '.join(competition.recipe.bases)}"
        heading = (
            f"# Starshift: {competition.name}, {method}; commit {self.job.commit}.\n"
            f"# Made by `invoke run --on kaggle`. Run {self.job.fingerprint[:16]}, payload {self.digest[:16]}."
        )
        text = f"{heading}\n\n{format_bootstrap(self, _format_session(session))}\n{SCRIPT_END}"
        size = len(text.encode())
        require(
            size <= MAX_SCRIPT_BYTES,
            "The script is too large for Kaggle.",
            expected=f"{MAX_SCRIPT_BYTES:,} bytes",
            received=size,
        )
        return text


def format_bootstrap(packed: CodeBundle, constants: str = "") -> str:
    """Formats the functions of bootstrap.py and the payload that they unpack, as Python."""
    functions = Path(__file__).with_name("bootstrap.py").read_text(encoding="utf-8")
    lines = "\n".join(textwrap.wrap(base64.b64encode(packed.payload).decode(), LINE_WIDTH))
    return f'{functions}\n\nDIGEST = "{packed.digest}"\n{constants}\nPAYLOAD = """\n{lines}\n"""'


def replace_session(script: str, session: Mapping[str, Any]) -> str:
    """Returns a pushed script for another session of the same run."""
    first, rest = script.split("\nSESSION = ", 1)
    return f"{first}\n{_format_session(session)}\n{rest.partition(chr(10))[2]}"


def _format_session(session: Mapping[str, Any]) -> str:
    return f"SESSION = {json.dumps(json.dumps(dict(session)))}"


def build_bundle(job: JobSpec) -> CodeBundle:
    """Packs the repository with a job."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted({**read_sources(), JOB_FILE: job.text().encode()}.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return CodeBundle(job=job, payload=lzma.compress(file.getvalue(), preset=XZ_PRESET))


def read_sources() -> dict[str, bytes]:
    """Reads the files of the repository's packages, by their path in it."""
    files = [path for package in PACKAGES for path in (paths.REPOSITORY / package).rglob("*") if path.is_file()]
    sources = [path for path in files if path.suffix not in EXCLUDED_SUFFIXES and not path.name.startswith(".")]
    return {path.relative_to(paths.REPOSITORY).as_posix(): path.read_bytes() for path in sources}
