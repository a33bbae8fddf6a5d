"""The documents: links lead somewhere, commands can be parsed, examples run, and made pages are as they are made."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from invoke.parser import Parser

from pipeline.cli.program import build_namespace
from pipeline.paths import REPOSITORY
from tests.conftest import drawn, encoded, two_classes

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
NAMES = [path.relative_to(REPOSITORY).as_posix() for path in DOCUMENTS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\s*[A-Z_]+=\S+ )*(?:invoke|starshift) (?P<rest>.+)$")
APPLIED = {"docs/extend.md"}
"""Documents whose Python is applied by a test of its own."""
NAMESPACE = build_namespace()
TASKS = {name for pair in NAMESPACE.task_names.items() for name in (pair[0], *pair[1])}


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def list_anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    anchors = []
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        anchors.append(f"{anchor}-{number}" if (number := anchors.count(anchor)) else anchor)
    return anchors


def list_commands(text):
    """The commands of ours in indented blocks and sh fences, without their comments."""
    blocks = [body for kind, body in FENCE.findall(text) if kind in ("sh", "bash", "")]
    plain = FENCE.sub("", text)
    lines = [line for body in blocks for line in body.splitlines()]
    lines += [line[4:] for line in plain.splitlines() if line.startswith("    ")]
    return [match["rest"] for line in lines if (match := COMMAND.match(re.sub(r"\s+([#|]).*", "", line)))]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_a_file_and_to_a_heading_of_it(name):
    broken = []
    for target in LINK.findall(FENCE.sub("", text_of(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((REPOSITORY / name).parent / path).resolve() if path else REPOSITORY / name
        if not file.exists() or (anchor and anchor not in list_anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_names_and_flags_that_there_are(name):
    wrong = []
    for command in list_commands(text_of(name)):
        words = [word for word in shlex.split(command) if word != "..."]
        if words and words[0].startswith("--"):
            continue
        try:
            Parser(contexts=NAMESPACE.to_contexts()).parse_argv(words)
        except Exception as error:
            wrong.append(f"{command}: {error}")
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_sentences_have_names_that_there_are(name):
    found = re.findall(r"`(?:invoke|starshift) ([a-z]+(?:[.-][a-z]+)*)[ `]", text_of(name))
    assert {*found} <= TASKS


@pytest.mark.parametrize("name", NAMES)
def test_targets_of_make_are_there(name):
    makefile = text_of("Makefile")
    found = re.findall(r"(?:^    |`)make ([a-z][\w./-]*)", text_of(name), re.MULTILINE)
    assert all(
        re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) or target.startswith(".venv") for target in found
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name not in APPLIED | {"docs/api.md"}])
def test_python_examples_run(name, tmp_path, monkeypatch):
    examples = [body for kind, body in FENCE.findall(text_of(name)) if kind == "python"]
    if not examples:
        pytest.skip("no example")
    two_classes(tmp_path / "pictures", each=6)
    (tmp_path / "photo.jpg").write_bytes(encoded(drawn(1)))
    monkeypatch.chdir(tmp_path)
    for body in examples:
        exec(compile(body, name, "exec"), {"__name__": "example"})


def test_made_pages_are_as_they_are_made():
    # In a process of its own: invoke takes a task's help away once it has read a command line.
    code = "import json; from pipeline.cli.reference import build_pages; print(json.dumps(build_pages()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name, page in json.loads(done.stdout).items():
        assert text_of(f"docs/{name}") == page, "python -m pipeline.cli.reference writes it again"


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 110


def test_a_broken_link_and_an_unknown_flag_would_be_seen():
    assert list_anchors("# A title, with `code`\n## Two\n## Two\n") == ["a-title-with-code", "two", "two-1"]
    assert list_commands("    invoke run --comp x   # why\n\n```sh\nstarshift runs\n```\n") == ["runs", "run --comp x"]
    with pytest.raises(Exception, match="No idea what"):
        Parser(contexts=NAMESPACE.to_contexts()).parse_argv(["run", "--flag"])
