"""Uploaded pictures are answered as `invoke predict` answers them, and hostile ones politely."""

import io
import json
import struct
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import competitions
from pipeline.config import RunOptions
from pipeline.runs import predictor
from pipeline.serving.answers import SCHEMA, RefusedError, load_service, name_uploads
from pipeline.training.export import HEADS_FILE
from pipeline.workflow import run as flow
from tests.conftest import drawn, encoded

BLUE = encoded(drawn(1, tint=(-60, -30, 90)))
RED = encoded(drawn(2, tint=(90, -30, -60)))
HALF = 64


@pytest.fixture
def finished(mine):
    """The folder of a finished run on features, in two views."""
    return flow.run(competitions.load(Path(mine)), RunOptions(engine="keras"))


def make_bomb(side):
    """A PNG file of few bytes that claims to have side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


def test_a_run_answers_as_invoke_predict_does(finished, tmp_path):
    files = predictor.find_pictures(str(tmp_path / "pictures" / "test"))
    usual = predictor.build_records(predictor.predict_pictures(predictor.load_predictor(finished), files))
    answer = load_service(finished).predict([(name, path.read_bytes()) for name, path in files.items()])
    assert answer["run"] == finished.name and len(answer["pictures"]) == len(usual) == 7
    for one, other in zip(answer["pictures"], usual, strict=True):
        assert one.keys() == other.keys() and one["picture"] == other["picture"]
        if "error" not in one:
            assert one["unlike_training"] == other["unlike_training"]
            for key, number in (("classes", "probability"), ("nearest", "cosine")):
                assert [each["class"] for each in one[key]] == [each["class"] for each in other[key]]
                values = [each[number] for each in one[key]]
                assert values == pytest.approx([each[number] for each in other[key]], abs=1e-5)


def test_a_run_shows_the_nearest_training_pictures_from_the_pixel_cache(finished, tmp_path):
    data = (tmp_path / "pictures" / "train" / "blue" / "3.jpg").read_bytes()
    (answer,) = load_service(finished).answer([("3.jpg", data)])
    nearest = [one["id"] for one in answer.record["nearest"]]
    assert nearest[0] == "blue/3.jpg" and list(answer.thumbnails) == nearest


def test_a_run_without_an_exact_map_answers_without_it_and_says_why(finished):
    (finished / HEADS_FILE).unlink()
    service = load_service(finished)
    (answer,) = service.answer([("a.jpg", BLUE)])
    assert "did not keep its heads" in service.no_map
    assert answer.overlay is None and answer.record["classes"][0]["class"] == "blue"


def test_pictures_are_looked_at_once_for_classes_novelty_and_map_in_all_views(make_service, colours):
    answers = make_service().answer([("a.jpg", BLUE), ("b.jpg", RED)])
    assert colours.passes == 1 and all(one.overlay is not None for one in answers)


def test_without_a_map_the_plain_view_is_looked_at_once_and_the_answer_is_the_same(make_service, colours):
    answer = make_service(with_map=False).predict([("a.jpg", BLUE)])
    assert colours.passes == 2  # plain, and flip
    assert json.dumps(answer) == json.dumps(make_service().predict([("a.jpg", BLUE)]))


def test_maps_that_are_no_features_are_extracted_for_the_page_alone(make_service, colours):
    service = make_service()
    service.explainer = replace(service.explainer, texts=())
    passes = []
    for ask in (service.predict, service.answer):
        ask([("a.jpg", BLUE)])
        passes.append(colours.passes)
    assert passes == [2, 5]  # plain, and flip; these and the maps


def test_answers_come_in_the_order_of_the_uploads(make_service):
    answers = make_service().answer([("z.jpg", RED), ("broken.jpg", b"text"), ("a.jpg", BLUE)])
    assert [one.record["picture"] for one in answers] == ["z.jpg", "broken.jpg", "a.jpg"]
    assert [one.record["classes"][0]["class"] for one in (answers[0], answers[2])] == ["red", "blue"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"only text, called .jpg", "no picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (BLUE[:-200], "truncated"),
        (make_bomb(60_000), "more pixels than any camera"),
        (make_bomb(100), "damaged, or not whole"),
        (make_bomb(10_000), "10000 x 10000 pixels, more than 50 megapixels"),
        (bytes(9000), "larger than 0.005 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_or_hostile_picture_is_an_error_in_its_record_and_others_are_answered(data, words, make_service):
    service = make_service(bytes=5000)
    bad, good = service.answer([("bad.jpg", data), ("good.jpg", RED)])
    assert words in bad.record["error"] and bad.picture is None
    assert good.record["classes"][0]["class"] == "red"


@pytest.mark.parametrize("count", [0, 4])
def test_a_request_of_no_or_too_many_pictures_is_refused(count, make_service):
    with pytest.raises(RefusedError, match="Send 1 to 3 pictures at a time") as caught:
        make_service(pictures=3).predict([("a.jpg", BLUE)] * count)
    assert caught.value.status == 400


def test_a_request_whose_turn_does_not_come_is_refused(make_service):
    service = make_service(seconds=0.01)
    with service._turn, pytest.raises(RefusedError, match="Other pictures are being answered") as caught:
        service.predict([("a.jpg", BLUE)])
    assert caught.value.status == 503


def test_after_an_error_the_next_request_has_its_turn(make_service, monkeypatch):
    service = make_service(seconds=0.01)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(service.thumbnails, "read", lambda *_: (_ for _ in ()).throw(MemoryError()))
        service.answer([("a.jpg", BLUE)])
    assert service.answer([("a.jpg", BLUE)])


def test_two_senders_at_once_have_each_their_answer(make_service):
    service, answers = make_service(), {}

    def send(name, data):
        answers[name] = service.predict([(name, data)])["pictures"][0]["classes"][0]["class"]

    threads = [threading.Thread(target=send, args=one) for one in (("blue", BLUE), ("red", RED)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"blue": "blue", "red": "red"}


def test_names_are_unique_short_and_without_folders():
    given = [
        "../../etc/passwd",
        "C:\\pictures\\dog.jpg",
        "dog.jpg",
        "",
        "\x1b[31m",
        "x" * 500,
        "dog.jpg (3)",
        "dog.jpg",
    ]
    names = list(name_uploads([(name, b"") for name in given]))
    assert names == ["passwd", "dog.jpg", "dog.jpg (2)", "picture", "[31m", "x" * 80, "dog.jpg (3)", "dog.jpg (4)"]


def test_a_picture_is_shown_upright_in_its_own_proportions(make_service):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = io.BytesIO()
    Image.fromarray(drawn(1, 80, 40)).save(file, "JPEG", exif=exif)
    (answer,) = make_service().answer([("turned.jpg", file.getvalue())])
    assert answer.picture.shape == answer.overlay.shape == (320, 160, 3)


def test_the_map_is_orange_where_the_picture_speaks_for_its_class(make_service):
    pixels = np.zeros((HALF, HALF, 3), np.uint8)
    pixels[:, : HALF // 2, 2] = 255
    (answer,) = make_service().answer([("half.png", encoded(pixels, "PNG"))])
    red, _, blue = answer.overlay[:, 20:140].mean(axis=(0, 1))
    assert answer.record["classes"][0]["class"] == "blue"
    assert red > 100 and red > 1.3 * blue
    assert answer.overlay[:, 180:].max() < 60


def test_answers_keep_to_the_schema(make_service):
    jsonschema = pytest.importorskip("jsonschema")
    answer = make_service().predict([("a.jpg", BLUE), ("broken.jpg", b"")])
    jsonschema.validate(answer, SCHEMA)
    del answer["pictures"][0]["classes"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, SCHEMA)
