"""The page around the answers, as far as it goes without Gradio: HTML, uploads, the port, and what is missing."""

import inspect
import os
import re
import sys
import time

import numpy as np
import pytest
from invoke import Context

from pipeline.cli.serve import serve
from pipeline.errors import StarshiftError
from pipeline.serving import app
from tests.conftest import drawn, encoded

BLUE = encoded(drawn(1, tint=(-60, -30, 90)))


@pytest.fixture
def uploads(tmp_path):
    return tmp_path


@pytest.fixture
def reader(uploads):
    return app.UploadReader(uploads)


def upload(folder, name="sha/a.jpg", data=BLUE):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_without_gradio_the_requirements_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit):
        serve(Context(), run="no such run")
    assert "pip install -r requirements-serve.txt" in capsys.readouterr().err


def test_a_picture_is_shown_with_its_map_its_classes_and_their_bars(make_service):
    html = app.render_answers(make_service().answer([("a.jpg", BLUE)]))
    assert html.count("data:image/jpeg;base64,") == 2
    (first, second) = re.findall(r"width: ([\d.]+)%", html)
    assert float(first) + float(second) == pytest.approx(100, abs=0.2) and float(first) > 80


def test_a_picture_unlike_the_training_pictures_is_not_sure_and_the_share_of_false_alarms_is_told(make_service):
    green = encoded(np.full((9, 9, 3), (0, 200, 0), np.uint8), "PNG")
    like, unlike = (app.render_answers(make_service().answer([("a.png", data)])) for data in (BLUE, green))
    assert "Not sure: unlike the training pictures." in unlike and "So are 5 % of pictures like those" in unlike
    assert "Not sure" not in like


def test_a_training_picture_that_is_not_in_the_pixel_cache_is_named(make_service):
    html = app.render_answers(make_service().answer([("a.jpg", BLUE)]))
    assert len(re.findall(r"blue<br>\d\.jpg<br>cosine", html)) == 3


def test_a_refusal_is_shown_in_the_place_of_answers():
    assert "at most &lt;10&gt;" in app.render_answers([], "at most <10>")


@pytest.mark.parametrize("data", [BLUE, b"text"])
def test_a_name_is_text_and_never_html(data, make_service):
    html = app.render_answers(make_service().answer([("<img src=x onerror=alert(1)>.jpg", data)]))
    assert "<img src=x" not in html and "&lt;img src=x" in html


def test_an_upload_is_read_and_removed(uploads, reader):
    path = upload(uploads)
    assert reader.read(path) == BLUE and not path.exists()


def test_two_senders_of_one_picture_both_have_it_read(uploads, reader):
    path = upload(uploads)
    assert reader.read(path) == reader.read(path) == BLUE


def test_a_picture_is_shown_until_and_while_it_is_answered(uploads, reader):
    path = upload(uploads)
    assert reader.show(path) == BLUE and path.exists()
    reader.read(path)
    assert reader.show(path) == BLUE


def test_what_was_read_is_soon_forgotten(uploads, reader, monkeypatch):
    path = upload(uploads)
    reader.read(path)
    monkeypatch.setattr(app, "KEPT_SECONDS", 0.0)
    reader.remove_old()
    assert reader.read(path) == b""


def test_what_was_read_is_forgotten_by_itself(uploads, reader, monkeypatch):
    monkeypatch.setattr(app, "KEPT_SECONDS", 0.05)
    path = upload(uploads)
    reader.read(path)
    time.sleep(0.5)
    assert reader.show(path) == b""


def test_the_latest_are_remembered_where_much_is_sent(uploads, reader, monkeypatch):
    monkeypatch.setattr(app, "MAX_KEPT_BYTES", 2 * len(BLUE))
    paths = [upload(uploads, f"sha/{number}.jpg") for number in range(3)]
    for path in paths:
        reader.read(path)
    assert [reader.show(path) for path in paths] == [b"", BLUE, BLUE]


def test_uploads_that_nobody_asked_about_are_removed(uploads, reader):
    old, new = upload(uploads, "old/a.jpg"), upload(uploads, "new/b.jpg")
    for path in (old, old.parent):
        os.utime(path, (time.time() - 61, time.time() - 61))
    reader.read(uploads / "sha" / "none.jpg")
    assert not old.exists() and new.exists()


@pytest.mark.parametrize("name", ["../secret.txt", "sha/../../secret.txt"])
def test_no_file_outside_of_the_uploads_is_read_or_removed(name, uploads, tmp_path_factory):
    folder = uploads / "uploads"
    (folder / "sha").mkdir(parents=True)
    (uploads / "secret.txt").write_text("secret")
    reader = app.UploadReader(folder)
    assert reader.show(folder / name) == reader.read(folder / name) == b""
    assert (uploads / "secret.txt").exists()


def test_a_port_that_is_taken_is_an_error_with_a_remedy():
    with app.listen("127.0.0.1", 0) as first:
        taken = app.listen("127.0.0.1", first.getsockname()[1])
        with pytest.raises(StarshiftError, match="--port takes another one"), taken:
            pass


def test_the_server_listens_on_this_machine_alone_unless_told():
    # Not by its help: invoke takes that out of the task once a command line is read.
    assert inspect.signature(serve.body).parameters["host"].default == "127.0.0.1"
