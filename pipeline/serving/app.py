"""The web application: a Gradio page and a JSON endpoint before one `PictureService`, on this machine only unless told.

Gradio is optional. Its page loads nothing from elsewhere, and uploads are removed as soon as they are read.
"""

import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from jinja2 import Environment, FileSystemLoader

from pipeline.errors import StarshiftError, require
from pipeline.figures.style import BLUE, GREY, ORANGE
from pipeline.paths import format_install_command
from pipeline.run_report.pictures import encode_data_url
from pipeline.runs.novelty import FALSE_ALARMS
from pipeline.serving.answers import SCHEMA, Answer, PictureService, RefusedError, Upload, load_service
from pipeline.serving.guard import LOOPBACK, Application, Guard

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
COLOURS = {"": (BLUE, ORANGE, GREY), ".dark": ("#56b4e9", "#f0883e", "#a9adb3")}
"""Blue, orange and grey on a light page, and on a dark one, as in the run's report."""
KEPT_SECONDS, MAX_KEPT_BYTES = 60.0, 200_000_000


def require_gradio() -> None:
    """Raises a StarshiftError where Gradio is not installed. It is not imported, which takes seconds."""
    require(find_spec("gradio"), "Gradio is not installed.", expected="gradio", received="none",
            remedy=format_install_command("serve"))  # fmt: skip


def import_gradio(uploads: Path) -> Any:
    """Imports gradio, its telemetry off.

    Args:
        uploads: the folder for uploads, where Gradio also makes folders as soon as it is imported.

    Raises:
        StarshiftError: it is not installed.
    """
    require_gradio()
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(uploads)}
    import gradio

    return gradio


class UploadReader:
    """Reads files that the page uploaded, and removes them.

    Gradio names a file by its content, so two senders of one picture have one file between them. What was read stays in
    memory for KEPT_SECONDS, up to MAX_KEPT_BYTES: for the other sender, and for the page, which shows what it sends.

    Args:
        folder: of the uploads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock, self._recent = folder, Lock(), dict[Path, tuple[float, bytes]]()

    def read(self, path: Path) -> bytes:
        """Returns the bytes of an upload, and removes its file; nothing where there is none."""
        with self._lock:
            data = self._find(path)
            if data:
                self._recent[path] = (time.monotonic(), data)
                path.unlink(missing_ok=True)
        self.remove_old()
        later = Timer(KEPT_SECONDS, self.remove_old)
        later.daemon = True
        later.start()
        return data

    def show(self, path: Path) -> bytes:
        """Returns the bytes of an upload; nothing where there is none."""
        with self._lock:
            return self._find(path)

    def _find(self, path: Path) -> bytes:
        if path.resolve().is_relative_to(self.folder):
            with contextlib.suppress(OSError):
                return path.read_bytes()
        return self._recent.get(path, (0.0, b""))[1]

    def remove_old(self) -> None:
        """Removes what was read before KEPT_SECONDS, and uploads of then that were cut off or never answered."""
        now, then = time.monotonic(), time.time() - KEPT_SECONDS
        with self._lock:
            recent = [one for one in self._recent.items() if now - one[1][0] < KEPT_SECONDS]
            sizes = itertools.accumulate(len(data) for _, (_, data) in reversed(recent))
            self._recent = dict(recent[len(recent) - sum(size <= MAX_KEPT_BYTES for size in sizes) :])
            for path in [*self.folder.glob("*/*"), *self.folder.glob("*")]:
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < then:
                        path.rmdir() if path.is_dir() else path.unlink()


@cache
def _load_environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True)


def render_answers(answers: Sequence[Answer], refusal: str = "") -> str:
    """Renders answers, or why there are none, as HTML."""
    template = _load_environment().get_template("answers.html")
    return template.render(answers=answers, refusal=refusal, encode=encode_data_url, false_alarms=FALSE_ALARMS)


def build_page(service: PictureService, reader: UploadReader) -> Any:
    """Builds the page, a gradio.Blocks."""
    gradio, limits = import_gradio(reader.folder), service.limits

    def answer(gallery: Sequence[tuple[str, str | None]] | None) -> tuple[Any, Any]:
        if not gallery:  # emptied by the answer before
            return gradio.skip(), gradio.skip()
        uploads = [(Path(path).name, reader.read(Path(path))) for path, _ in gallery]
        try:
            return render_answers(service.answer(uploads)), []
        except RefusedError as error:
            return render_answers([], str(error)), []

    with gradio.Blocks(title=f"Ask {service.run}", analytics_enabled=False, delete_cache=(30, 60)) as page:
        gradio.Markdown(f"# Predict pictures\nBy the run **{service.run}**, on this machine. Pictures are not kept.")
        drop = gradio.Gallery(
            label=f"Drop up to {limits.pictures} pictures of {limits.bytes / 1e6:g} MB, paste one, or take a photo",
            sources=["upload", "webcam", "clipboard"], type="filepath", file_types=["image"], height=280, columns=6,
            buttons=[], elem_id="drop",
        )  # fmt: skip
        if service.no_map:
            gradio.Markdown(f"No map of what speaks for a class: {service.no_map}")
        if service.predictor.neighbours is None:
            gradio.Markdown(
                "The training pictures are not on this machine: nothing says whether a picture is like them."
            )
        shown = gradio.HTML(padding=False)
        # Of what the webcam takes Gradio 6.31 tells by `change` alone; `once`, since an upload may change it twice.
        drop.change(answer, drop, [shown, drop], api_visibility="private", show_progress="minimal", trigger_mode="once")
    return page.queue(max_size=50, default_concurrency_limit=4)


def build_app(service: PictureService, uploads: Path, *, hosts: tuple[str, ...] | None = LOOPBACK) -> Application:
    """Builds the web application: the page at /, POST /api/predict and GET /api/schema.

    Args:
        service: answers the pictures.
        uploads: a folder for uploads until they are answered.
        hosts: see `Guard`.

    Raises:
        StarshiftError: Gradio is not installed.
    """
    gradio = import_gradio(uploads)
    from fastapi import FastAPI

    # Their pages would load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    reader = UploadReader(uploads)
    add_endpoint(app, service, reader)
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    css = (FOLDER / "page.css").read_text(encoding="utf-8") + "".join(
        f"{page} .answer {{ --answer-blue: {blue}; --answer-orange: {orange}; --answer-grey: {grey}; }}"
        for page, (blue, orange, grey) in COLOURS.items()
    )
    gradio.mount_gradio_app(
        app, build_page(service, reader), path="/", theme=gradio.themes.Default(primary_hue="blue", **fonts),
        css=css, max_file_size=service.limits.bytes, footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip
    return Guard(app, service.limits, hosts)


def add_endpoint(app: Any, service: PictureService, reader: UploadReader) -> None:
    """Adds POST /api/predict and GET /api/schema to a FastAPI application, and the page's own view of its uploads.

    The last stands in the place of Gradio's, which fetches addresses, too, and fails where a file was just read.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    async def predict(request: Request) -> JSONResponse:
        try:
            uploads = await read_uploads(request, service.limits.pictures)
            return JSONResponse(await run_in_threadpool(service.predict, uploads))
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except HTTPException as error:  # a broken form
            return JSONResponse({"error": str(error.detail)}, error.status_code)

    async def schema(_: Request) -> JSONResponse:
        return JSONResponse(SCHEMA)

    async def show(request: Request) -> Response:
        data = await run_in_threadpool(reader.show, Path(request.path_params["path"]))
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}  # a picture, whatever it says
        return Response(data, 200 if data else 404, headers, "image/jpeg")

    app.add_route("/gradio_api/file={path:path}", show, methods=["GET"])
    app.add_route("/api/predict", predict, methods=["POST"])
    app.add_route("/api/schema", schema, methods=["GET"])


async def read_uploads(request: Any, most: int) -> list[Upload]:
    """Reads the files of a form, or the body of a request as one picture."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await request.body()
        return [("picture", body)] if body else []
    async with request.form(max_files=most, max_fields=most) as form:
        return [(part.filename, await part.read()) for _, part in form.multi_items() if hasattr(part, "filename")]


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Listens on a port; 0 takes a free one.

    Raises:
        StarshiftError: it is taken, or the host is not this machine's.
    """
    require(0 <= port < 65536, "--port is a number of 16 bits.", expected="0 to 65535", received=port)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as opened:
            yield opened
    except OSError as error:
        raise StarshiftError(
            f"Nothing can listen on {host}, port {port}.", expected="an address of this machine, and a free port",
            received=error.strerror or str(error), remedy="--port takes another one, 0 any that is free",
        ) from error  # fmt: skip


def serve_run(folder: Path, host: str, port: int) -> None:
    """Serves a finished run until it is interrupted.

    Raises:
        StarshiftError: Gradio is not installed, the run cannot be asked, or the port is taken.
    """
    require_gradio()
    import uvicorn

    # So that the folder of uploads is removed then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with listen(host, port) as opened, tempfile.TemporaryDirectory(prefix="starshift-uploads-") as uploads:
        hosts = LOOPBACK if host in LOOPBACK else None
        app = build_app(load_service(folder), Path(uploads).resolve(), hosts=hosts)
        shown, own = (f"[{host}]" if ":" in host else host), opened.getsockname()[1]
        if hosts is None:
            log.warning("  warning: whoever reaches port %d of this machine can ask, without a password", own)
        log.info("serving   %s at http://%s:%d (Ctrl-C ends it)", folder.name, shown, own)
        config = uvicorn.Config(app, log_level="warning", limit_concurrency=64, server_header=False)
        uvicorn.Server(config).run(sockets=[opened])
