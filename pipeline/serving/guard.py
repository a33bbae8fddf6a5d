"""Guards a web application (ASGI): which addresses it has, and how much, how slowly and by which name it is asked."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pipeline.serving.answers import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE_PATHS = (
    r"/|/config/?|/theme\.css|/manifest\.json|/favicon\.ico|/(static|assets|svelte)/.*|/api/(predict|schema)"
    r"|/gradio_api/(upload|upload_progress|startup-events|info|queue/(join|data)|heartbeat/\w+|cancel|reset/?|file=.+)"
)
"""What the page and the endpoint need. Gradio has more: it fetches other addresses for whoever asks, and edits code."""


class Guard:
    """Stands before an application and answers by itself what the application must not see.

    A request that sends more than the limits allow, or takes longer to send it, is cut off; the application sees its
    sender go away.

    Args:
        app: the application.
        limits: of a request.
        hosts: names by which a request may address the server; None allows all. A page of another site that resolves
            its own name to this machine (DNS rebinding) does not have them.
    """

    def __init__(self, app: Application, limits: Limits, hosts: tuple[str, ...] | None) -> None:
        self.app, self.limits, self.hosts = app, limits, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI 3.0."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if self.hosts and _strip_port(headers.get(b"host", "")) not in self.hosts:
            await _refuse(scope, send, 421, f"This server is called {' or '.join(self.hosts)}.")
        elif not re.fullmatch(PAGE_PATHS, scope["path"]):
            await _refuse(scope, send, 404, "There is no such page.")
        elif int(headers.get(b"content-length", "0") or 0) > self.limits.request_bytes:
            await _refuse(scope, send, 413, self._describe_limit())
        else:
            await self._pass_on(scope, receive, send)

    def _describe_limit(self) -> str:
        return f"At most {self.limits.request_bytes / 1e6:g} MB are taken at a time."

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Passes a request on, and counts the bytes and the seconds of its body."""
        deadline, taken, refusal, is_whole, has_begun = time.monotonic() + self.limits.seconds, 0, None, False, False

        async def count() -> Message:
            nonlocal taken, refusal, is_whole
            if refusal:
                return {"type": "http.disconnect"}
            try:
                patience = None if is_whole else max(0.0, deadline - time.monotonic())
                message = await asyncio.wait_for(receive(), patience)
            except TimeoutError:
                refusal = (408, f"The request took longer than {self.limits.seconds:g} seconds to arrive.")
                return {"type": "http.disconnect"}
            taken += len(message.get("body", b""))
            is_whole = is_whole or not message.get("more_body", False)
            if taken > self.limits.request_bytes:
                refusal = (413, self._describe_limit())
                return {"type": "http.disconnect"}
            return message

        async def pass_back(message: Message) -> None:
            nonlocal has_begun
            if not refusal:
                has_begun = True
                await send(message)

        try:
            await self.app(scope, count, pass_back)
        except Exception:
            if not refusal:
                raise
        if refusal and not has_begun:
            await _refuse(scope, send, *refusal)


def _strip_port(host: str) -> str:
    """Returns the name of a Host header, `[::1]:7860` or `localhost:7860`, without port and brackets."""
    return re.sub(r":\d+$", "", host).strip("[]") if not host.startswith("[") else host[1:].partition("]")[0]


async def _refuse(scope: Message, send: Send, status: int, message: str) -> None:
    """Answers a request with an error: as JSON to the endpoint, as text to the page, which shows it."""
    as_json = scope["path"].startswith("/api/")
    body = json.dumps({"error": message}).encode() if as_json else message.encode()
    headers = [
        (b"content-type", b"application/json" if as_json else b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what is left of the body is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
