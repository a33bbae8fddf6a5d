"""The guard before the web application: sizes, time, addresses and names of requests. No server is needed."""

import asyncio
import json

import pytest

from pipeline.serving.answers import Limits
from pipeline.serving.guard import LOOPBACK, Guard

LIMITS = Limits(request_bytes=100, seconds=0.05)


async def count_bytes(scope, receive, send):
    """An application that answers with the number of bytes of the body, and 500 where its sender goes away."""
    size, message = 0, {"more_body": True}
    while message.get("more_body") and message.get("type") != "http.disconnect":
        message = await receive()
        size += len(message.get("body", b""))
    status = 500 if message["type"] == "http.disconnect" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def fail(scope, receive, send):
    await receive()
    await receive()
    raise ConnectionError("the sender went away")


def ask(path="/api/predict", bodies=(b"x",), app=count_bytes, host="127.0.0.1:7860", pause=0.0, **headers):
    """Sends a request in parts; returns status and body of the answer."""
    parts, answers = [*bodies], []

    async def receive():
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        answers.append(message)

    raw = [(b"host", host.encode()), *((key.replace("_", "-").encode(), value) for key, value in headers.items())]
    scope = {"type": "http", "path": path, "headers": raw}
    asyncio.run(Guard(app, LIMITS, LOOPBACK)(scope, receive, send))
    return answers[0]["status"], b"".join(one.get("body", b"") for one in answers)


def test_a_request_within_the_limits_passes():
    assert ask(bodies=[b"x" * 50, b"y" * 50]) == (200, b"100")


@pytest.mark.parametrize("app", [count_bytes, fail])
def test_a_body_that_grows_beyond_the_limit_is_cut_off(app):
    status, body = ask(bodies=[b"x" * 50, b"y" * 51, b"z"], app=app)
    assert status == 413 and json.loads(body) == {"error": "At most 0.0001 MB are taken at a time."}


def test_a_body_that_is_announced_too_large_is_not_even_read():
    status, _ = ask(bodies=[], content_length=b"101")
    assert status == 413


def test_the_page_is_told_in_plain_words():
    assert ask("/gradio_api/upload", bodies=[b"x" * 101]) == (413, b"At most 0.0001 MB are taken at a time.")


@pytest.mark.parametrize("app", [count_bytes, fail])
def test_a_body_that_arrives_too_slowly_is_cut_off(app):
    status, body = ask(bodies=[b"x"] * 9, pause=0.03, app=app)
    assert status == 408 and "longer than 0.05 seconds" in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/gradio_api/proxy=http://a.example", "/gradio_api/vibe-edit", "/login", "/docs"])
def test_what_gradio_has_beyond_the_page_has_no_address(path):
    assert ask(path)[0] == 404


@pytest.mark.parametrize("path", ["/", "/config", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/upload"])
def test_what_the_page_needs_has_an_address(path):
    assert ask(path)[0] == 200


@pytest.mark.parametrize(("host", "status"), [("[::1]:7860", 200), ("localhost", 200), ("evil.example:7860", 421)])
def test_only_the_machine_s_own_names_are_answered(host, status):
    assert ask(host=host)[0] == status


def test_an_error_of_the_application_stays_its_own():
    with pytest.raises(ConnectionError):
        ask(bodies=[b"x", b"y"], app=fail)
