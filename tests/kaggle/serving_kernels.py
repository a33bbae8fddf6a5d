"""Kernels on loopback: a pushed script runs in a process of its own, with /kaggle-like folders and no network.

Refusals and invalid sources are HTTP 200, as Kaggle's are. The log comes as events while the session runs, and as one
piece of JSON afterwards. Faults: `log` can be `cut`, `silence` or `500`. A session that is not over after its
sessionTimeoutSeconds is killed with all its processes, and has no output.
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
class Session:
    """One push and what came of it.

    Attributes:
        body: what SaveKernel was asked.
        root: stands for /kaggle.
        status: of the session.
        events: of its log.
    """

    body: dict
    root: Path
    version: int
    status: str = "RUNNING"
    failure: str = ""
    process: subprocess.Popen | None = None
    end_as: str = "COMPLETE"
    events: list[dict] = field(default_factory=list)

    @property
    def working(self) -> Path:
        return self.root / "working"

    def say(self, text: str) -> None:
        """Adds to the log."""
        self.events.append({"stream_name": "stdout", "time": len(self.events), "data": text})

    def end(self, status: str = "COMPLETE") -> None:
        self.status = status

    def run(self, python: str) -> None:
        """Runs the script to its end, as Kaggle does."""
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
        clock = threading.Timer(self.body.get("sessionTimeoutSeconds", 12 * 3600), self.expire)
        clock.daemon = True
        clock.start()
        with subprocess.Popen(command, cwd=self.working, env=environment, **pipes) as self.process:
            for line in self.process.stdout or ():
                self.say(line)
        clock.cancel()
        if not self.failure:
            self.end("ERROR" if self.process.returncode else self.end_as)

    def expire(self) -> None:
        """Ends a session whose time is up, as Kaggle does: at once, and without output."""
        self.failure = "Timeout exceeded"
        if self.process:
            for process in [*list_descendants(self.process.pid), self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.working)
        self.working.mkdir()
        self.end("ERROR")


class Kernels:
    """Answers the kernels' part of the API.

    Args:
        server: that it adds itself to.
        storage: that serves the outputs.
        folder: that sessions lie in.
        python: that runs scripts; None leaves them alone, and the test says what becomes of them.
        layout: `new` or `old`: where things are mounted.
        stored: datasets that are mounted too.

    Attributes:
        competitions, datasets, models: folders to mount, by slug, by `owner/slug`, and by the model's whole address.
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
        layout: str = "new",
        stored: Datasets | None = None,
    ) -> None:
        self.server, self.storage, self.folder, self.python, self.layout = server, storage, folder, python, layout
        self.stored = stored
        self.competitions: dict[str, Path] = {}
        self.datasets: dict[str, Path] = {}
        self.models: dict[str, Path] = {}
        self.refusals: list[str] = []
        self.sessions: dict[str, list[Session]] = {}
        self.page = 20
        self.used, self.reserved, self.total = 10.0, 0.0, 30.0
        server.calls |= {
            "SaveKernel": self.save,
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
        if self.refusals:
            return {"error": self.refusals.pop(0)}
        slug = body["slug"].partition("/")[2]
        number = len(self.sessions.get(slug, [])) + 1
        known = {
            "Competition": set(self.competitions),
            "Dataset": {name for name in body.get("datasetDataSources", []) if self.dataset(name)},
            "Kernel": {f"{USER}/{name}" for name in self.sessions},
            "Model": set(self.models),
        }
        invalid = {
            f"invalid{kind}Sources": [n for n in body.get(f"{kind.lower()}DataSources", []) if n not in names]
            for kind, names in known.items()
        }
        session = Session(body, self.folder / f"{slug}-v{number}", number)
        session.working.mkdir(parents=True)
        self._mount(session)
        self.sessions.setdefault(slug, []).append(session)
        if self.python:
            threading.Thread(target=session.run, args=(self.python,), daemon=True).start()
        url = f"https://www.kaggle.com/code/{USER}/{slug}"
        return {"ref": f"/code/{USER}/{slug}", "url": url, "versionNumber": number, "kernelId": 7, **invalid}

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
            if before := self.sessions.get(name.partition("/")[2]):
                places[f"notebooks/{name}"] = before[-1].working
        inputs.mkdir()
        for place, target in places.items():
            if target is not None:
                path = inputs / (place if self.layout == "new" else place.rpartition("/")[2])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(target)

    def dataset(self, name: str) -> Path | None:
        """The folder of the newest version of `owner/slug`; a name with a version is no name."""
        one = self.stored.stored.get(name) if self.stored else None
        if one is None:
            return self.datasets.get(name)
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
        if session.status != "RUNNING":
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
            ended = session.status != "RUNNING"
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
