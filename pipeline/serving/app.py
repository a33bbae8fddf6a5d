"""The web application: a Gradio page and a JSON endpoint before one `PictureService`, on this machine only unless told.

Gradio is optional. Its page loads nothing from elsewhere, and uploads are removed as soon as they are read.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from jinja2 import Environment, FileSystemLoader

from pipeline.errors import StarshiftError, require
from pipeline.figures.style import BLUE, ORANGE
from pipeline.run_report.pictures import encode_data_url
from pipeline.runs.novelty import FALSE_ALARMS
from pipeline.serving.answers import SCHEMA, Answer, PictureService, RefusedError, Upload, load_service
from pipeline.serving.guard import LOOPBACK, Application, Guard

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parent
DARK_BLUE, DARK_ORANGE = "#56b4e9", "#f0883e"
"""BLUE and ORANGE on a dark page, as in the run's report."""
MEMORY_SECONDS = 60.0


def import_gradio() -> Any:
    """Imports gradio, its telemetry off.

    Raises:
        StarshiftError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise StarshiftError(
            "Gradio is not installed.", expected="gradio, which shows the page", received=str(error),
            remedy="pip install -r requirements-serve.txt",
        ) from error  # fmt: skip
    return gradio


class UploadReader:
    """Reads files that the page uploaded, and removes them.

    Gradio names a file by its content, so two senders of one picture have one file between them. What was read stays in
    memory for MEMORY_SECONDS, for the other one.
    """

    def __init__(self) -> None:
        self._lock, self._recent = Lock(), dict[Path, tuple[float, bytes]]()

    def read(self, path: Path) -> bytes:
        """Returns the bytes of a file, and removes it."""
        with self._lock:
            now = time.monotonic()
            self._recent = {key: one for key, one in self._recent.items() if now - one[0] < MEMORY_SECONDS}
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return self._recent.get(path, (now, b""))[1]
            path.unlink(missing_ok=True)
            self._recent[path] = (now, data)
            return data


@cache
def _load_environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True)


def render_answers(answers: Sequence[Answer]) -> str:
    """Renders answers as HTML."""
    template = _load_environment().get_template("answers.html")
    return template.render(answers=answers, encode=encode_data_url, false_alarms=FALSE_ALARMS)


def render_refusal(text: str) -> str:
    """Renders why pictures are not answered."""
    return (
        _load_environment().from_string('<div class="answer"><p class="unsure">{{ text }}</p></div>').render(text=text)
    )


def build_page(service: PictureService, reader: UploadReader) -> Any:
    """Builds the page, a gradio.Blocks."""
    gradio = import_gradio()
    limits = service.limits

    def answer(gallery: Sequence[tuple[str, str | None]] | None) -> tuple[str, None]:
        uploads = [(Path(path).name, reader.read(Path(path))) for path, _ in gallery or ()]
        try:
            return render_answers(service.answer(uploads)), None
        except RefusedError as error:
            return render_refusal(str(error)), None

    with gradio.Blocks(title=f"Ask {service.run}", analytics_enabled=False, delete_cache=(30, 60)) as page:
        gradio.Markdown(
            f"# Which is it?\nAnswered by the run **{service.run}** on this machine. Pictures are not kept."
        )
        drop = gradio.Gallery(
            label=f"Drop up to {limits.pictures} pictures of {limits.bytes / 1e6:g} MB, paste one, or take a photo",
            sources=["upload", "webcam", "clipboard"], type="filepath", file_types=["image"], height=220, columns=6,
            buttons=[],
        )  # fmt: skip
        if service.no_map:
            gradio.Markdown(f"No map of what speaks for a class: {service.no_map}")
        if service.predictor.neighbours is None:
            gradio.Markdown(
                "The training pictures are not on this machine: nothing says whether a picture is like them."
            )
        shown = gradio.HTML(elem_id="answers")
        drop.upload(answer, drop, [shown, drop], api_visibility="private", show_progress="minimal")
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
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    gradio = import_gradio()
    from fastapi import FastAPI

    # Their pages would load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_endpoint(app, service)
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    css = (FOLDER / "page.css").read_text(encoding="utf-8") + (
        f":root {{ --answer-blue: {BLUE}; --answer-orange: {ORANGE}; }}"
        f".dark {{ --answer-blue: {DARK_BLUE}; --answer-orange: {DARK_ORANGE}; }}"
    )
    gradio.mount_gradio_app(
        app, build_page(service, UploadReader()), path="/", theme=gradio.themes.Default(primary_hue="blue", **fonts),
        css=css, max_file_size=service.limits.bytes, footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip
    return Guard(app, service.limits, str(uploads), hosts)


def add_endpoint(app: Any, service: PictureService) -> None:
    """Adds POST /api/predict and GET /api/schema to a FastAPI application."""
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse

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
    import_gradio()
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
