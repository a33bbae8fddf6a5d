"""The page in Chromium and the endpoint beside it, with a real run and a real server: `make test-serve`."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Competition, Recipe, RunOptions
from pipeline.paths import REPOSITORY
from pipeline.serving.answers import SCHEMA
from pipeline.workflow import run as flow
from tests.conftest import drawn, encoded, two_classes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PATIENCE = 60_000
"""Milliseconds."""
BLUE = drawn(5001, tint=(-60, -30, 90))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and the environment in which it is found."""
    folder = tmp_path_factory.mktemp("served")
    two_classes(folder / "pictures")
    recipe = Recipe(bases=("mobilenet_025@conv_pw_3_relu=none",), size=32, folds=3)
    competition = Competition(name="served", data=str(folder / "pictures"), metric="accuracy", recipe=recipe)
    homes = {"STARSHIFT_HOME": str(folder / "home"), "KERAS_HOME": str(folder / "keras")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in homes.items():
            patch.setenv(name, value)
        yield flow.run(competition, RunOptions(engine="keras")), os.environ | homes


@pytest.fixture(scope="module")
def server(finished, tmp_path_factory):
    """A server of a finished run: its address, and the folder that its uploads pass through."""
    run, environment = finished
    folder, log = tmp_path_factory.mktemp("uploads"), tmp_path_factory.mktemp("log") / "errors.txt"
    command = [sys.executable, "-m", "invoke", "serve", "--run", run.name, "--port", "0"]
    options = {"cwd": REPOSITORY, "text": True, "stdout": subprocess.PIPE}
    environment |= {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as file, subprocess.Popen(command, env=environment, stderr=file, **options) as process:
        first = next((line for line in process.stdout if "http://" in line), "")
        assert first, log.read_text()
        yield re.search(r"http://[\w.:]+", first)[0], folder
        process.terminate()
    assert list(folder.iterdir()) == [], "uploads are left"
    assert "Traceback" not in log.read_text() and "ERROR" not in log.read_text()


@pytest.fixture(scope="module")
def browser():
    """Chromium, with a webcam that shows a green field."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@contextlib.contextmanager
def open_page(browser, address, **options):
    """Opens the page; asserts at the end that nothing went elsewhere and that nothing went wrong."""
    context = browser.new_context(**options)
    page, faults, hosts = context.new_page(), [], set()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.partition("//")[2].partition("/")[0]))
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached", timeout=PATIENCE)
    yield page
    assert faults == [] and hosts - {""} == {address.removeprefix("http://")}
    context.close()


def send(page, *files):
    """Drops files of (name, bytes) on the page."""
    page.wait_for_selector("input[type=file]", state="attached", timeout=PATIENCE)
    kinds = [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files]
    page.set_input_files("input[type=file]", kinds)


def read_answers(page, *names):
    """Waits for the answers to these files, and returns the text of each."""
    for name in names:
        page.wait_for_selector(f".answer:has-text('{name}')", timeout=PATIENCE)
    return [page.locator(f".answer:has-text('{name}')").inner_text() for name in names]


def encode_rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(BLUE).save(file, "JPEG", exif=exif)
    return file.getvalue()


def encode_cmyk():
    file = io.BytesIO()
    Image.fromarray(BLUE).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def encode_large():
    """A JPEG of 40 megapixels."""
    return encoded(np.asarray(Image.fromarray(BLUE).resize((8000, 5000))), quality=80)


def test_the_page_answers_every_kind_of_picture_and_sends_nothing_elsewhere(server, browser):
    address, folder = server
    with open_page(browser, address) as page:
        pictures = {"plain.jpg": encoded(BLUE), "cmyk.jpg": encode_cmyk(), "turned.jpg": encode_rotated()}
        for name, data in (*pictures.items(), ("large.jpg", encode_large())):
            send(page, (name, data))
            assert "blue" in read_answers(page, name)[0]
        send(page, *pictures.items(), ("text.jpg", b"only text"))
        *good, bad = read_answers(page, *pictures, "text.jpg")
        assert all("blue" in text for text in good) and "cannot be read: it is no picture of a known format" in bad
        assert page.locator(".answer img").count() == 3 * 5
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_photo_is_taken_by_the_webcam(server, browser):
    address, _ = server
    with open_page(browser, address) as page:
        page.get_by_label("Capture from camera").click()
        page.get_by_text("Click to Access Webcam").click()
        page.get_by_label("capture photo").click()
        assert "Likeliest classes" in read_answers(page, "webcam")[0]


def test_what_is_too_much_is_refused_in_words(server, browser):
    address, _ = server
    with open_page(browser, address) as page:
        send(page, *((f"{number}.jpg", encoded(BLUE)) for number in range(11)))
        page.wait_for_selector("text=Send 1 to 10 pictures at a time, not 11.", timeout=PATIENCE)


def test_two_users_at_once_have_each_their_answer_though_they_send_the_same_picture(server, browser):
    address, _ = server
    with open_page(browser, address) as first, open_page(browser, address) as second:
        for page, name in ((first, "mine.jpg"), (second, "yours.jpg")):
            send(page, ("same.jpg", encoded(BLUE)), (name, encoded(BLUE)))
        assert all("blue" in text for text in read_answers(first, "same.jpg", "mine.jpg"))
        assert all("blue" in text for text in read_answers(second, "same.jpg", "yours.jpg"))


def test_the_page_fits_a_telephone(server, browser):
    address, _ = server
    with open_page(browser, address, viewport={"width": 360, "height": 740}, color_scheme="dark") as page:
        send(page, ("plain.jpg", encoded(BLUE)))
        read_answers(page, "plain.jpg")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def ask(address, data=None, **headers):
    """Sends a request; returns status and JSON."""
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, names), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def build_form(*files):
    """Builds the body of a form of (name, bytes)."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--x--\r\n"


FORM = "multipart/form-data; boundary=x"


def test_the_endpoint_answers_pictures_as_json_and_refuses_in_json(server):
    address, _ = server
    predict = f"{address}/api/predict"
    status, one = ask(predict, encoded(BLUE), Content_Type="image/jpeg")
    assert status == 200 and one["pictures"][0]["classes"][0]["class"] == "blue"
    body = build_form(("../../a.jpg", encoded(BLUE)), ("b.jpg", b"text"))
    status, two = ask(predict, body, Content_Type=FORM)
    assert status == 200 and [each["picture"] for each in two["pictures"]] == ["a.jpg", "b.jpg"]
    assert "error" in two["pictures"][1]
    assert ask(f"{address}/api/schema") == (200, SCHEMA)
    refused = {
        400: [
            (b"", {}),
            (build_form(*[("a.jpg", b"x")] * 11), {"Content_Type": FORM}),
            (b"--", {"Content_Type": FORM}),
        ],
        413: [(b"x", {"Content_Length": "100000001"})],
        421: [(b"x", {"Host": "evil.example"})],
    }
    for status, requests in refused.items():
        for data, headers in requests:
            code, answer = ask(predict, data, **headers)
            assert code == status and list(answer) == ["error"]
