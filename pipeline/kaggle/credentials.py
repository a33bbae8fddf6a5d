"""Kaggle's credentials on this machine: where they lie, in the order in which its client takes them, and their faults.

The client (2.2.5) takes a file that it cannot read for none, or fails on it without its name.
"""

import codecs
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StarshiftError
from pipeline.paths import is_inside_kernel

SETTINGS_PAGE = "https://www.kaggle.com/settings"
LOGIN_COMMAND = "kaggle auth login"
SECRET_VARIABLES = ("KAGGLE_KEY", "KAGGLE_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN", "KAGGLE_IAP_TOKEN")
TOKEN_FILES = ("~/.kaggle/access_token", "~/.kaggle/access_token.txt")
LOGIN_FILE = "~/.kaggle/credentials.json"
KEY_FILE = "kaggle.json"
JSON_FILES = (KEY_FILE, Path(LOGIN_FILE).name)
SECRET_FIELDS = ("key", "password", "token", "access_token", "refresh_token")
MARKS = {
    codecs.BOM_UTF8: "it begins with a byte order mark",
    codecs.BOM_UTF16_LE: "it is UTF-16, as PowerShell writes it",
    codecs.BOM_UTF16_BE: "it is UTF-16",
}
"""Beginnings of files that are no plain UTF-8, which the client cannot read."""


@dataclass(frozen=True)
class Credential:
    """One place of credentials; it holds no secret.

    Args:
        kind: `token`, `key` (with a username) or `login` (OAuth).
        place: the variable or the file.
        fault: why the client cannot use it; empty where it looks right.
    """

    kind: str
    place: str
    fault: str = ""


def find_config_folder() -> Path:
    """Returns the folder of kaggle.json, as the client finds it."""
    if own := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(own)
    usual = Path("~/.kaggle").expanduser()
    other = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kaggle"
    return usual if usual.exists() or not other.exists() else other


def list_credentials() -> list[Credential]:
    """Lists where credentials are, the client's first choice first."""
    names = ("KAGGLE_API_V1_TOKEN", "KAGGLE_API_TOKEN") if is_inside_kernel() else ("KAGGLE_API_TOKEN",)
    tokens = [(name, Path(value)) for name in names if (value := os.environ.get(name))]
    tokens += [(_shorten(path), path) for name in TOKEN_FILES if _exists(path := Path(name).expanduser())]
    listed = [Credential("token", name, _read_text(path)[1] if _exists(path) else "") for name, path in tokens]
    login = Path(LOGIN_FILE).expanduser()
    logins = [Credential("login", _shorten(login), _read_record(login, ("refresh_token",))[1])]
    return [*listed, *_list_keys(), *(logins if _exists(login) else ())]


def _list_keys() -> list[Credential]:
    """Lists a username and a key: of the variables, which come first, and of kaggle.json or what is like it."""
    variables = {name: os.environ.get(f"KAGGLE_{name.upper()}") for name in ("username", "key")}
    path = find_config_folder() / KEY_FILE
    record, fault = _read_record(path, ("username", "key")) if _exists(path) else ({}, "")
    missing = [f"KAGGLE_{name.upper()}" for name, value in variables.items() if not (value or record.get(name))]
    listed = []
    if any(variables.values()):
        listed.append(Credential("key", "KAGGLE_USERNAME and KAGGLE_KEY", f"no {missing[0]}" if missing else ""))
    if _exists(path):
        listed.append(Credential("key", _shorten(path), "" if listed and not missing else fault))
    elif path.parent.is_dir():
        others = [one for one in sorted(path.parent.iterdir()) if one.name.lower().startswith("kaggle")]
        fault = f"its name is not {KEY_FILE}: rename it"
        listed += [Credential("key", _shorten(one), fault) for one in others if ".json" in one.name.lower()]
    return listed


def _exists(path: Path) -> bool:
    """Returns whether a path is there; a token may be too long for a name."""
    try:
        return path.exists()
    except OSError:
        return False


def _shorten(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def _read_text(path: Path) -> tuple[str, str]:
    """Returns the text of a file, and why the client cannot read it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", f"it cannot be read ({error.strerror})"
    for mark, fault in MARKS.items():
        if content.startswith(mark):
            return content.decode("utf-8-sig" if mark == codecs.BOM_UTF8 else "utf-16", errors="replace"), fault
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "", "it is not UTF-8"
    return text, "" if text.strip() else "it is empty"


def _read_record(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """Returns the JSON object of a file, and what is wrong with it: each name has to have a text."""
    text, fault = _read_text(path)
    try:
        record = json.loads(text)
    except ValueError as error:
        return {}, fault or f"it is no JSON ({error})"
    if not isinstance(record, dict):
        return {}, fault or f"it holds no object with {' and '.join(names)}"
    missing = [name for name in names if not isinstance(record.get(name), str) or not record[name].strip()]
    fault = fault or (f"it has no {' and no '.join(missing)}" if missing else "")
    blank = [name for name in names if not fault and record[name] != record[name].strip()]
    return record, f"its {blank[0]} begins or ends with a blank" if blank else fault


def find_secrets() -> tuple[set[str], set[str]]:
    """Returns the secrets and the usernames of this machine, those of files that the client cannot read, too."""
    secrets = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    files = [Path(value) for value in secrets if value] + [Path(name).expanduser() for name in TOKEN_FILES]
    secrets |= {_read_text(path)[0].strip() for path in files if _exists(path)}
    names = {os.environ.get("KAGGLE_USERNAME", "")}
    for path in (find_config_folder() / KEY_FILE, *(Path(f"~/.kaggle/{name}").expanduser() for name in JSON_FILES)):
        record = _read_record(path, ())[0] if _exists(path) else {}
        secrets |= {str(record.get(name) or "") for name in SECRET_FIELDS}
        names |= {str(record.get("username") or "")}
    return secrets - {""}, names - {""}


def build_credentials_error(sources: list[Credential], otherwise: str = "") -> StarshiftError:
    """Builds the error for credentials that are missing, damaged or not accepted.

    Args:
        sources: what there was before signing in: the client removes a login that Kaggle refuses.
        otherwise: a way without Kaggle, if there is one.
    """
    way = f", {otherwise}" if otherwise else ""
    whole = [one for one in sources if not one.fault]
    if (faulty := [one for one in sources if one.fault]) and not (whole and sources[0] is whole[0]):
        return StarshiftError(
            "Kaggle's credentials cannot be read.",
            expected=f'a text file (UTF-8): a token, or {KEY_FILE} as {{"username": "...", "key": "..."}}',
            received="; ".join(f"{one.place}: {one.fault}" for one in faulty),
            remedy=f"put it right, or remove it and create a token at {SETTINGS_PAGE}{way}",
        )
    if whole and whole[0].kind == "login":
        return StarshiftError(
            "The login to Kaggle has ended.",
            received=f"{whole[0].place}, which Kaggle does not accept any more",
            remedy=f"{LOGIN_COMMAND}, or create a token at {SETTINGS_PAGE}{way}",
        )
    if whole:
        return StarshiftError(
            "Kaggle does not accept the token: it is stale or wrong.",
            received=f"the token in {whole[0].place}, which is used before a username and key",
            remedy=f"create a new one at {SETTINGS_PAGE}, or remove it{way}",
        )
    return StarshiftError(
        "Kaggle does not know who you are: there are no credentials.",
        expected="KAGGLE_API_TOKEN, ~/.kaggle/access_token or kaggle.json, KAGGLE_USERNAME and KAGGLE_KEY, or a login",
        received="none of them",
        remedy=f"create a token at {SETTINGS_PAGE}, or {LOGIN_COMMAND}{way}",
    )
