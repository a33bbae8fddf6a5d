"""Kernels on loopback: a pushed script runs in a process of its own, with /kaggle-like folders and no network.

Refusals and invalid sources are HTTP 200, as Kaggle's are. The log comes as events while the session runs, and as one
piece of JSON afterwards. Faults: `log` can be `cut`, `silence` or `500`.

A session waits in the queue, starts up, and runs. Its clock begins with the start-up. Once its sessionTimeoutSeconds,
the limit of its kind or the week's quota are over, it is killed with all its processes and without a warning; what it
had written is kept or not (see Clock).
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.kernels.session import list_descendants
from tests.kaggle.server import USER, Handler, Kaggle, Reply
from tests.kaggle.serving_datasets import Datasets
from tests.kaggle.serving_storage import Storage

ARITHMETIC = ("OMP_", "OPENBLAS_", "MKL_")
"""What variables begin with that decide in which order sums are taken: the machine's, which a test shares."""
LACKING = ("openvino", "simplejpeg", "py7zr", "invoke", "tenacity", "jinja2", "kaggle", "kagglesdk")
"""Packages that a script must do without: Kaggle's image lacks them, or promises nothing."""


@functools.cache
def without_network() -> list[str]:
    """What a command begins with that is to have no network; empty where the system does not allow it."""
    command = ["unshare", "-rn"]
    works = (
        shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if works else []


def lacking(folder: Path) -> str:
    """A PYTHONPATH on which the packages of LACKING are not there, for every process that has it."""
    (folder / "lacking").mkdir()
    code = f"import sys\nsys.modules.update(dict.fromkeys({LACKING}))\n"
    (folder / "lacking" / "sitecustomize.py").write_text(code)
    return str(folder / "lacking")


@dataclass
class Clock:
    """Times of sessions in seconds, which may stand for hours in a test.

    Attributes:
        queue: before a session starts; does not count.
        startup: of its container, before the script starts; counts.
        gpu, cpu: the longest that a session may last.
        keeps: whether the files of a session that was killed are kept.
        attaches: whether its kernel can be attached to another one.
    """

    queue: float = 0.0
    startup: float = 0.0
    gpu: float = 9 * 3600
    cpu: float = 12 * 3600
    keeps: bool = False
    attaches: bool = True


@dataclass
class Session:
    """One push and what came of it.

    Attributes:
        body: what SaveKernel was asked.
        root: stands for /kaggle.
        image: that it runs in.
        status: of the session.
        events: of its log.
        seconds: from its start to its end.
    """

    body: dict
    root: Path
    version: int
    image: str = ""
    status: str = "RUNNING"
    failure: str = ""
    process: subprocess.Popen | None = None
    end_as: str = "COMPLETE"
    events: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def working(self) -> Path:
        return self.root / "working"

    @property
    def home(self) -> Path:
        """Where the run inside has its data."""
        return self.root / "tmp" / "starshift" / "home"

    @property
    def gpu(self) -> bool:
        return bool(self.body.get("enableGpu"))

    def say(self, text: str) -> None:
        """Adds to the log."""
        self.events.append({"stream_name": "stdout", "time": time.monotonic() - self.started, "data": text})

    def end(self, status: str = "COMPLETE") -> None:
        self.status = status

    def run(self, python: str, clock: Clock, seconds: float) -> None:
        """Runs the script to its end, or until so many seconds have gone by since the start."""
        self.status = "QUEUED"
        time.sleep(clock.queue)
        self.status, self.started = "RUNNING", time.monotonic()
        timer = threading.Timer(seconds, self.expire, (clock.keeps,))
        timer.daemon = True
        timer.start()
        time.sleep(min(clock.startup, seconds))
        if self.status == "RUNNING":
            self._run_script(python)
        timer.cancel()
        self.seconds = time.monotonic() - self.started
        if not self.failure:
            self.end("ERROR" if self.process and self.process.returncode else self.end_as)

    def _run_script(self, python: str) -> None:
        script = self.root / "script.py"
        script.write_text(self.body["text"])
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "PYTHONPATH": lacking(self.root),
            "STARSHIFT_KAGGLE_ROOT": str(self.root),
            "KAGGLE_KERNEL_RUN_TYPE": "Batch",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            **{name: value for name, value in os.environ.items() if name.startswith(ARITHMETIC)},
        }
        command = [*without_network(), python, str(script)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=self.working, env=environment, **pipes) as self.process:
            for line in self.process.stdout or ():
                self.say(line)

    def expire(self, keeps: bool = False) -> None:
        """Kills the session, as Kaggle does: at once. What it had written is kept or not."""
        self.failure = "Timeout exceeded"
        if self.process:
            for process in [self.process.pid, *list_descendants(self.process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        if not keeps:
            shutil.rmtree(self.working, ignore_errors=True)
            self.working.mkdir()
        self.end("ERROR")


class Kernels:
    """Answers the kernels' part of the API.

    Args:
        server: that it adds itself to.
        storage: that serves the outputs.
        folder: that sessions lie in.
        python: that runs scripts; None leaves them alone, and the test says what becomes of them.
        stored: datasets that are mounted too.

    Attributes:
        clock: of its sessions.
        layouts: where things are mounted, `new`, `old` or `other`: of one session after the other, over and over.
        image: that new kernels run in, unless they name one.
        used, reserved, total: hours of the week's GPU quota.
        competitions, models: folders to mount, by slug, and by the model's whole address.
        refusals: what the next pushes are answered, one each.
        page: the most outputs in a page.
    """

    def __init__(
        self,
        server: Kaggle,
        storage: Storage,
        folder: Path,
        *,
        python: str | None = sys.executable,
        stored: Datasets | None = None,
    ) -> None:
        self.server, self.storage, self.folder, self.python = server, storage, folder, python
        self.stored, self.clock, self.layouts, self.image = stored, Clock(), ("new",), "images/python@sha256:1"
        self.competitions: dict[str, Path] = {}
        self.models: dict[str, Path] = {}
        self.refusals: list[str] = []
        self.sessions: dict[str, list[Session]] = {}
        self.page = 20
        self.used, self.reserved, self.total = 10.0, 0.0, 30.0
        server.calls |= {
            "SaveKernel": self.save,
            "GetKernel": self.get,
            "GetKernelSessionStatus": self.state,
            "ListKernelSessionOutput": self.outputs,
            "GetAcceleratorQuotaStatistics": self.quota,
        }
        server.places["/v1/kernels/logs/stream/"] = self.stream

    def quota(self, _: dict) -> dict:
        hours = {"timeUsed": self.used, "timeReserved": self.reserved, "totalTimeAllowed": self.total}
        gpu = {name: f"{value * 3600:.0f}s" for name, value in hours.items()}
        return {"quotaRefreshTime": "2026-11-28T00:00:00Z", "gpuQuota": gpu}

    def save(self, body: dict) -> dict:
        if refusal := self._refuse(body):
            return {"error": refusal}
        slug = body["slug"].partition("/")[2]
        number = len(self.sessions.get(slug, [])) + 1
        known = {
            "Competition": set(self.competitions),
            "Dataset": {name for name in body.get("datasetDataSources", []) if self.dataset(name)},
            "Kernel": {f"{USER}/{name}" for name in self.sessions if self._is_attachable(name)},
            "Model": set(self.models),
        }
        invalid = {
            f"invalid{kind}Sources": [n for n in body.get(f"{kind.lower()}DataSources", []) if n not in names]
            for kind, names in known.items()
        }
        image = body.get("dockerImage") or self.image
        session = Session(body, self.folder / f"{slug}-v{number}", number, image)
        session.working.mkdir(parents=True)
        self._mount(session)
        self.sessions.setdefault(slug, []).append(session)
        if self.python:
            threading.Thread(target=self._run, args=(session,), daemon=True).start()
        url = f"https://www.kaggle.com/code/{USER}/{slug}"
        return {"ref": f"/code/{USER}/{slug}", "url": url, "versionNumber": number, "kernelId": 7, **invalid}

    def _refuse(self, body: dict) -> str:
        """Why a push is refused; empty where it is not."""
        if self.refusals:
            return self.refusals.pop(0)
        if body.get("enableGpu") and self.used >= self.total:
            return f"Maximum weekly GPU quota of {self.total:.2f} hours reached."
        return ""

    def _run(self, session: Session) -> None:
        """Runs a session; one with a GPU ends with the week's quota, and uses it up."""
        limits = [self.clock.gpu, (self.total - self.used) * 3600] if session.gpu else [self.clock.cpu]
        session.run(self.python, self.clock, min(*limits, session.body.get("sessionTimeoutSeconds", limits[0])))
        self.used += session.seconds / 3600 if session.gpu else 0.0

    def get(self, body: dict) -> dict | Reply:
        session = self._asked(body)
        return {"metadata": {"dockerImage": session.image}} if session else self._unknown()

    def _mount(self, session: Session) -> None:
        """Links what is attached where Kaggle mounts it."""
        inputs, body = session.root / "input", session.body
        places = {
            f"competitions/{name}": self.competitions.get(name) for name in body.get("competitionDataSources", [])
        }
        for name in body.get("datasetDataSources", []):
            places[f"datasets/{name}"] = self.dataset(name)
        for name in body.get("modelDataSources", []):
            places[f"models/{name}"] = self.models.get(name)
        for name in body.get("kernelDataSources", []):
            if self._is_attachable(name.partition("/")[2]):
                places[f"notebooks/{name}"] = self.latest(name.partition("/")[2]).working
        inputs.mkdir()
        layout = self.layouts[sum(map(len, self.sessions.values())) % len(self.layouts)]
        for place, target in places.items():
            if target is not None:
                name = place.rpartition("/")[2]
                path = inputs / {"new": place, "old": name, "other": f"mnt/a/{name}"}[layout]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(target)

    def _is_attachable(self, slug: str) -> bool:
        return slug in self.sessions and (self.clock.attaches or not self.latest(slug).failure)

    def dataset(self, name: str) -> Path | None:
        """The folder of the newest version of `owner/slug`; a name with a version is no name."""
        one = self.stored.stored.get(name) if self.stored else None
        if one is None:
            return None
        folder = self.folder / "datasets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in one.versions[-1].items():
            (folder / file).write_bytes(data)
        return folder

    def latest(self, slug: str = "") -> Session:
        """The newest session of a kernel, or of all."""
        return (self.sessions[slug] if slug else list(self.sessions.values())[-1])[-1]

    def _asked(self, body: dict) -> Session | None:
        found = self.sessions.get(body["kernelSlug"]) if body.get("userName") == USER else None
        label = body.get("versionLabel", "")
        return None if not found else found[int(label[1:]) - 1] if label else found[-1]

    def state(self, body: dict) -> dict | Reply:
        session = self._asked(body)
        if session is None:
            return self._unknown()
        said = {"failureMessage": session.failure} if session.failure else {}
        return said if session.status == "QUEUED" else {"status": session.status, **said}

    @staticmethod
    def _unknown() -> Reply:
        return Reply(status=403, content={"code": 403, "message": "Permission 'kernels.get' was denied"})

    def outputs(self, body: dict) -> dict | Reply:
        session = self._asked(body)
        if session is None:
            return self._unknown()
        start, most = int(body.get("pageToken") or 0), min(self.page, body.get("pageSize") or 20)
        files = sorted(path for path in session.working.rglob("*") if path.is_file())
        names = [path.relative_to(session.working).as_posix() for path in files]
        part = list(zip(names, files, strict=True))[start : start + most]
        listed = [
            {"fileName": n, "url": self.storage.address(f"{session.root.name}/{n}", p.read_bytes())} for n, p in part
        ]
        more = {"nextPageToken": str(start + most)} if start + most < len(files) else {}
        return {"files": listed, "log": json.dumps(session.events), **more}

    def stream(self, asked: Handler) -> Reply | None:
        """The log: events while the session runs, all of it in one piece afterwards."""
        slug = asked.place.split("/")[-1]
        if slug not in self.sessions:
            return self._unknown()
        session, fault = self.latest(slug), self.server.fault("log", ("cut", "silence", "500"))
        if fault == "500":
            return Reply(status=500, content={"code": 500, "message": "Internal error"})
        if session.status not in ("QUEUED", "RUNNING"):
            return Reply(content=session.events)
        asked.send_response(200)
        asked.send_header("Content-Type", "text/event-stream")
        asked.end_headers()
        self._events(asked, session, fault)
        asked.close_connection = True
        return None

    def _events(self, asked: Handler, session: Session, fault: str | None) -> None:
        told = 0
        while not self.server.closing.is_set():
            ended = session.status not in ("QUEUED", "RUNNING")
            for event in session.events[told:]:
                asked.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                told += 1
                if fault == "cut":
                    return asked.reset()
            asked.wfile.flush()
            if fault == "silence":
                self.server.closing.wait(30)
            if ended:
                asked.wfile.write(b"data: END_OF_LOG\n\n")
                return None
            time.sleep(0.02)
        return None
