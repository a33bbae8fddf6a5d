"""Kaggle on loopback: the calls of a download as the real client speaks them, with faults to switch on.

python -m tests.kaggle.server FOLDER_OF_BUNDLES      serves <slug>.zip and prints what to export
"""

import json
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RULES = "You must accept this competition's rules before you'll be able to download files."
MODIFIED = "Tue, 24 Nov 2026 08:00:00 GMT"


class Kaggle(ThreadingHTTPServer):
    """The server; `faults` maps a name to how often it still happens."""

    daemon_threads = True

    def __init__(self, bundles: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bundles = bundles
        self.faults: dict[str, int] = {}
        self.requests: list[tuple[str, str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self, name: str) -> bool:
        left = self.faults.get(name, 0)
        self.faults[name] = left - 1
        return left > 0


class Handler(BaseHTTPRequestHandler):
    """Answers API calls by POST and storage by GET."""

    server: Kaggle

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, content: dict, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.server.requests.append(("CONNECT", self.path, ""))
        self.answer(403, {"code": 403, "message": "tests do not leave this machine"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        self.server.requests.append(("POST", self.path, self.headers.get("Authorization", "")))
        if self.path.endswith("IntrospectToken"):
            return self.answer(200, {"active": body["token"] == "good", "username": "tester"})
        for status, message in ((401, "Unauthenticated"), (429, "Too many requests"), (500, "Internal error")):
            if self.server.fault(str(status)):
                return self.answer(status, {"code": status, "message": message})
        if self.server.fault("rules"):
            return self.answer(403, {"code": 403, "message": RULES})
        slug = body.get("competitionName", "")
        if not (self.server.bundles / f"{slug}.zip").exists():
            return self.answer(403, {"code": 403, "message": "Permission 'competitions.get' was denied"})
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/storage/{slug}.zip?signature=1")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append(("GET", self.path, wanted))
        data = bytearray((self.server.bundles / Path(self.path.partition("?")[0]).name).read_bytes())
        if self.server.fault("corrupt"):
            data[len(data) // 2] ^= 255
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in (("ETag", '"one"'), ("Last-Modified", MODIFIED), ("Accept-Ranges", "bytes")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = start + (len(data) - start) * 2 // 3 if self.server.fault("cut") else len(data)
        self.wfile.write(data[start:end])
        self.close_connection = True


def environment(server: Kaggle, folder: Path) -> dict[str, str]:
    """What a child process needs so that the real client talks to the server, through it as a proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(folder),
        "KAGGLE_CONFIG_DIR": str(folder),
        "KAGGLE_USERNAME": "tester",
        "KAGGLE_KEY": "0" * 32,
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "NO_PROXY": "",
        "no_proxy": "",
        "HTTP_PROXY": server.address,
        "HTTPS_PROXY": server.address,
    }


if __name__ == "__main__":
    serving = Kaggle(Path(sys.argv[1]))
    for key, text in environment(serving, Path(tempfile.mkdtemp())).items():
        print(f"export {key}={text}", flush=True)
    while True:
        time.sleep(3600)
