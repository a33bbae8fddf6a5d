"""The entry point of a kernel: checks the payload's digest, unpacks the repository and starts the session.

The text of this file is the beginning of every pushed script, so it knows the standard library only.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

START_TIME = time.monotonic()


def unpack(digest: str, payload: str) -> tuple[Path, dict[str, str]]:
    """Unpacks the repository. Returns its folder, and the variables of a process that runs it.

    Args:
        digest: SHA-256 of the payload's bytes.
        payload: a tar file, compressed by xz, in base64.
    """
    data = base64.b64decode("".join(payload.split()))
    received = hashlib.sha256(data).hexdigest()
    if received != digest:
        sys.exit(f"error: the payload is not what was pushed\n  expected: SHA-256 {digest}\n  received: {received}")
    place = _make_scratch_folder()
    code = place / "code"
    shutil.rmtree(code, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive:
        archive.extractall(code, filter="data")  # from Python 3.11.4 on; Kaggle's image has 3.12
    return code, {
        "KAGGLE_KERNEL_RUN_TYPE": os.environ.get("KAGGLE_KERNEL_RUN_TYPE") or "Batch",
        "PYTHONPATH": os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "STARSHIFT_BEGUN": str(START_TIME),  # the session's clock; on Linux, all processes have one origin
        "STARSHIFT_HOME": str(place / "home"),
        "KERAS_HOME": str(place / "keras"),
        "KERAS_BACKEND": "tensorflow",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # several processes of a run share the GPU
        "TF_ENABLE_ONEDNN_OPTS": "1",  # the default; said aloud, TensorFlow does not print about it
    }


def start(digest: str, session: dict[str, Any], payload: str) -> int:
    """Unpacks the repository and runs its session. Returns the exit code.

    Args:
        digest: see `unpack`.
        session: what differs between the sessions of one run; `module` runs it, where it is not a run's.
        payload: see `unpack`.
    """
    code, environment = unpack(digest, payload)
    module = session.get("module", "pipeline.kernels.session")
    command = [sys.executable, "-m", module, str(code / "order.json"), json.dumps(session)]
    with subprocess.Popen(command, cwd=code, env={**os.environ, **environment}) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # the session packs what it has
        return process.wait()


def _make_scratch_folder() -> Path:
    """A folder that is not kept: /kaggle/working holds 20 GB, and all of it would be the kernel's output."""
    place = Path(os.environ.get("STARSHIFT_KAGGLE_ROOT") or "/kaggle") / "tmp" / "starshift"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="starshift-"))
    return place
