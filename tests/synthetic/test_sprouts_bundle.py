"""Sprouts in Kaggle's shape: what the archive holds, and what it does not."""

import csv
import io
import zipfile

import competitions
from pipeline.data.labels import build_picture_table
from pipeline.data.tables import read_sample_submission
from pipeline.kaggle import download
from pipeline.synthetic import sprouts, sprouts_bundle


def few(seed):
    """Five training pictures and one test picture of each species."""
    rows = [(species, number) for number in range(6) for species in range(12)]
    return [
        ("test" if number == 5 else "train", f"s{place:04}", species, number)
        for place, (species, number) in enumerate(rows)
    ]


def test_sprouts_go_the_way_of_any_competition_and_their_answers_stay_apart(monkeypatch, home):
    monkeypatch.setattr(sprouts, "list_pictures", few)
    competition = competitions.find("sprouts")
    assert download.format_status(competition) == "drawn on the first run"
    raw = download.fetch_data(competition)
    table = build_picture_table(competition, raw, read_sample_submission(competition, raw), home / "table.json")
    assert len(table.train) == 60 and len(table.test) == 12 and table.warnings == []
    assert set(table.classes) == set(sprouts.SPECIES)
    answers = list(csv.DictReader(io.StringIO((home / "data/competitions/sprouts/answers.csv").read_text())))
    assert [row["id"] for row in answers] == list(table.test["id"])
    assert not list(raw.rglob("answers*")) and len({row["species"] for row in answers}) == 12
    before = (raw / "train" / "s0000.jpg").stat().st_mtime_ns
    assert download.fetch_data(competition) == raw and (raw / "train" / "s0000.jpg").stat().st_mtime_ns == before


def test_the_sample_submission_names_one_species_for_all(monkeypatch, tmp_path):
    monkeypatch.setattr(sprouts, "list_pictures", few)
    sprouts_bundle.write_bundle(tmp_path / "sprouts.zip", tmp_path / "answers.csv")
    with zipfile.ZipFile(tmp_path / "sprouts.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("sample_submission.csv").decode())))
    assert {row["species"] for row in rows} == {sprouts.SPECIES[0]} and len(rows) == 12
