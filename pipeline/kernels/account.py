"""Checks what a run on Kaggle needs of an account: credentials, the client, accepted rules, the week's quota."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.config import Competition
from pipeline.errors import StarshiftError
from pipeline.figures.text_table import format_records
from pipeline.kaggle import kaggle_private
from pipeline.kaggle.api_errors import VERIFY_PHONE, CallPurpose, KaggleError
from pipeline.kaggle.client import authenticate, find_sign_in_kind, find_username, query
from pipeline.kaggle.credentials import list_credentials
from pipeline.kernels import planning

STATES = {True: "accepted", False: "not accepted: {page}/rules", None: ""}


def check_account(competitions: Sequence[Competition]) -> dict[str, Any]:
    """Builds a record of the account, as far as Kaggle answers; see docs/json.md.

    Args:
        competitions: whose rules are asked for.
    """
    record: dict[str, Any] = {
        "username": None,
        "signed_in_by": None,
        "credentials": [asdict(one) for one in list_credentials()],
        "versions": kaggle_private.find_versions(),
        "checked_with": kaggle_private.CHECKED_VERSIONS,
        "competitions": [],
        "quota": None,
        "problem": None,
    }
    try:
        api = authenticate()
        # The first request tells whether a key is good; signing in with one asks nothing.
        record["competitions"] = [_check_rules(api, one) for one in competitions if one.slug]
        if (quota := planning.fetch_quota(api)) != planning.GPUQuota():  # that is what is assumed where none is told
            record["quota"] = {**asdict(quota), "left": quota.left}
    except StarshiftError as error:
        record["problem"] = str(error)
    else:
        record |= {"username": find_username(api), "signed_in_by": find_sign_in_kind(api)}
    return record


def _check_rules(api: Any, competition: Competition) -> dict[str, Any]:
    """Returns whether the rules are accepted; null where Kaggle does not show the competition to this account.

    Raises:
        KaggleError: Kaggle cannot be reached, or refuses the credentials.
    """
    slug = str(competition.slug)
    purpose = CallPurpose(doing=f"looking at {slug}", kind="competition", name=slug)
    record = {"name": competition.name, "slug": slug, "page": purpose.page, "problem": None}
    try:
        request = "competitions.competition_api_client.get_competition"
        answer = query(api, request, {"competitionName": slug}, purpose)
    except KaggleError as error:
        if error.status not in (403, 404):
            raise
        return record | {"rules_accepted": None, "kernels_only": None, "problem": error.message}
    return record | {"rules_accepted": answer.user_has_entered, "kernels_only": answer.is_kernels_submissions_only}


def format_account(record: dict[str, Any]) -> list[list[str]]:
    """Formats the record of `check_account` in blocks of lines."""
    user, kind = record["username"], record["signed_in_by"]
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    head = [
        f"account   {f'{user}, by a {kind}' if user else 'not signed in'}",
        f"client    {versions or 'not installed'}; checked with {record['checked_with']}",
    ]
    if record["quota"]:
        names = ("used", "total", "refresh")
        head.append(planning.format_quota(planning.GPUQuota(**{name: record["quota"][name] for name in names})))
    if user:
        head.append(f"phone     Kaggle does not tell; {VERIFY_PHONE}")
    rows = [
        one | {"rules": one["problem"] or STATES[one["rules_accepted"]].format(**one)} for one in record["competitions"]
    ]
    credentials = {"kind": "{kind}", "credentials": "{place}", "fault": "{fault}"}
    blocks = [head, format_records(record["credentials"], credentials)]
    blocks.append(format_records(rows, {"competition": "{name}", "rules": "{rules}"}))
    return [*blocks, record["problem"].splitlines() if record["problem"] else []]
