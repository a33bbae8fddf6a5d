"""Kaggle on loopback, for the real client: what is asked is answered by topics, and faults can be switched on.

A topic (serving_*.py) adds to `calls` (a method's name -> what answers its JSON body) and to `places` (the beginning of
a path -> what answers GET and PUT there). A fault is a name and a kind, and how often it still happens:

    server.faults["CreateSubmission", "lost"] = 1       kinds: REFUSALS, and DAMAGES
    server.faults["storage", "cut"] = 2                 signed addresses: `storage` (GET) and `upload` (PUT)

python -m tests.kaggle FOLDER serves it for trying things by hand, see __main__.py.
"""

import base64
import json
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

USER, KEY, TOKEN = "tester", "c0ffee5ecretc0ffee5ecret", "KGAT_5ecret0f7he7ester"
REFRESH_TOKEN = "KGRT_5ecret0f7he7ester"
RULES = "You must accept this competition's rules before you'll be able to download files."
REFUSALS: dict[str, tuple[int, str]] = {
    "400": (400, "Bad request"),
    "401": (401, "Unauthenticated"),
    "rules": (403, RULES),
    "slug": (403, "Permission 'competitions.get' was denied"),
    "participate": (403, "Permission 'competitions.participate' was denied"),
    "kernel": (403, "Permission 'kernels.get' was denied"),
    "dataset": (403, "Permission 'datasets.get' was denied"),
    "phone": (403, "Your account must be phone verified"),
    "404": (404, "Not found"),
    "429": (429, "Too many requests"),
    "gateway": (429, "Too many requests"),
    "500": (500, "Internal error"),
    "503": (503, "Service unavailable"),
}
"""Refused before anything is done. `gateway` is the 429 of the gateway, which has another body."""
DAMAGES = ("reset", "lost", "silence", "cut", "corrupt", "html")
"""`reset`: closed before anything is done. The others do it, then: close, say nothing, half of the answer, noise."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer; `content` is bytes, or something to write as JSON."""

    content: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class Kaggle(ThreadingHTTPServer):
    """The server.

    Attributes:
        calls: what answers each API method: its body (a dict) -> a dict, or a Reply.
        places: what answers GET and PUT at paths that begin so: the Handler -> a Reply, or None where it wrote itself.
        faults: how often each (name, kind) still happens.
        requests: (HTTP method, path, the Authorization of a POST or the Range of a GET), in order.
        asked: (API method, body), in order.
        tokens: that are valid; one that is taken out has expired.
        refresh_token: of the login; None where it was ended.
        retry_after: what a 429 says.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: dict[str, Callable[[dict], Any]] = {
            "IntrospectToken": self.introspect,
            "GenerateAccessToken": self.generate,
        }
        self.tokens, self.refresh_token = {TOKEN}, REFRESH_TOKEN
        self.places: dict[str, Callable[[Handler], Reply | None]] = {}
        self.faults: dict[tuple[str, str], int] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.asked: list[tuple[str, dict]] = []
        self.retry_after = "0"
        self.closing = threading.Event()
        self.lock = threading.RLock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage(self) -> str:
        """Where signed addresses point: another host's name, to which the client sends no Authorization."""
        return f"http://localhost:{self.server_port}"

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def fault(self, name: str, kinds: Any) -> str | None:
        """The kind of fault that happens now, of these; of several the one that was switched on first."""
        with self.lock:
            for (wanted, kind), left in self.faults.items():
                if wanted == name and kind in kinds and left > 0:
                    self.faults[name, kind] -= 1
                    return kind
        return None

    def count(self, method: str) -> int:
        """How often an API method was asked."""
        return sum(name == method for name, _ in self.asked)

    def introspect(self, body: dict) -> dict:
        return {"active": body["token"] in self.tokens, "username": USER}

    def generate(self, body: dict) -> Any:
        """A new access token of a login."""
        if body["refreshToken"] != self.refresh_token:
            return Reply(status=401, content={"code": 401, "message": "Unauthenticated"})
        token = f"KGAT_{uuid.uuid4().hex}"
        self.tokens.add(token)
        return {"token": token, "expiresIn": 12 * 3600, "userName": USER, "userId": 7}

    def knows(self, authorization: str) -> bool:
        basic = base64.b64encode(f"{USER}:{KEY}".encode()).decode()
        return authorization in (f"Basic {basic}", *(f"Bearer {token}" for token in self.tokens))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the tests; everything else is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers API calls by POST, everything else at `places`."""

    server: Kaggle

    def log_message(self, *_: object) -> None:
        pass

    @property
    def place(self) -> str:
        """The path, as it is with the real hosts: /v1/Service/Method, /storage/..."""
        return urlsplit(self.path).path.removeprefix("/api")

    @property
    def length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def send(self, reply: Reply, damage: str | None = None) -> None:
        """Sends an answer, damaged in one of the ways of DAMAGES."""
        if damage == "html":
            reply = Reply(content=b"<html>Sign in to the network</html>", headers={"Content-Type": "text/html"})
        body = reply.bytes
        kind = "application/octet-stream" if isinstance(reply.content, bytes) else "application/json"
        if damage in ("reset", "lost"):
            return self.reset()
        if damage == "silence":
            self.server.closing.wait(30)
            return self.reset()
        if damage == "corrupt":
            body = bytes([body[0] ^ 0x40 if body else 0xFF]) + body[1:-1] + b"\xff"
        self.send_response(reply.status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if damage == "cut" else body)
        self.close_connection = True
        return None

    def reset(self) -> None:
        """Ends the connection so that the other side sees a reset."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        self.wfile = open("/dev/null", "wb")  # noqa: SIM115 - finish() closes it

    def do_CONNECT(self) -> None:
        self.server.requests.append(("CONNECT", self.path, ""))
        self.send(Reply(status=403, content={"code": 403, "message": "tests do not leave this machine"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(self.length) or "{}")
        method = self.place.rpartition("/")[2]
        authorization = self.headers.get("Authorization", "")
        self.server.requests.append(("POST", self.path, authorization))
        self.server.asked.append((method, body))
        if refusal := self.server.fault(method, REFUSALS):
            return self.send(self.refused(refusal))
        if method not in ("IntrospectToken", "GenerateAccessToken") and not self.server.knows(authorization):
            return self.send(self.refused("401"))
        damage = self.server.fault(method, DAMAGES)
        if damage == "reset":
            return self.reset()
        if method not in self.server.calls:
            return self.send(Reply(status=501, content={"code": 501, "message": f"the tests do not answer {method}"}))
        with self.server.lock:
            answer = self.server.calls[method](body)
        return self.send(answer if isinstance(answer, Reply) else Reply(content=answer), damage)

    def refused(self, kind: str) -> Reply:
        status, message = REFUSALS[kind]
        content: dict = {"code": status, "message": message}
        if kind == "gateway":
            content = {"error": {**content, "status": "RESOURCE_EXHAUSTED"}}
        return Reply(
            status=status, content=content, headers={"Retry-After": self.server.retry_after} if status == 429 else {}
        )

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
        for beginning, answer in self.server.places.items():
            if self.place.startswith(beginning):
                reply = answer(self)
                return self.send(reply) if reply else None
        return self.send(Reply(status=404, content=b"no such place"))

    do_PUT = do_GET  # noqa: N815


def environment(server: Kaggle, folder: Path) -> dict[str, str]:
    """What a child process needs so that the real client talks to the server, through it as a proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(folder),
        "KAGGLE_CONFIG_DIR": str(folder),
        "KAGGLE_USERNAME": USER,
        "KAGGLE_KEY": KEY,
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "NO_PROXY": "",
        "no_proxy": "",
        "HTTP_PROXY": server.address,
        "HTTPS_PROXY": server.address,
    }
