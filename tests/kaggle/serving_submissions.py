"""Competitions on loopback: bundles to download, the sample alone, submissions that are really scored, limits."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kaggle.scoring import Scorer
from tests.kaggle.server import USER, Kaggle, Reply
from tests.kaggle.serving_storage import Storage


class Competitions:
    """The calls of C.

    Args:
        server: that it adds itself to.
        storage: where bundles and uploads lie.
        bundles: a folder of <slug>.zip files.

    Attributes:
        scorers: by slug; a competition is known if it has one, or a bundle.
        singles: files that can be downloaded alone, by (slug, name).
        submissions: the newest first, as ListSubmissions has them.
        left: how many more are allowed today.
        entered: whether the user takes part.
        kernels_only: slugs of code competitions.
        hidden_sets: what is mounted when a kernel that was submitted runs again, by slug.
        kernels: that run them.
        looks: how often a new submission is looked at until it is scored.
        hidden: how often a new submission is not yet found.
    """

    def __init__(self, server: Kaggle, storage: Storage, bundles: Path | None = None) -> None:
        self.storage, self.bundles = storage, bundles
        self.scorers: dict[str, Scorer] = {}
        self.singles: dict[tuple[str, str], bytes] = {}
        self.submissions: list[dict] = []
        self.left, self.entered, self.looks, self.hidden = 5, True, 1, 0
        self.seen: dict[int, int] = {}
        self.kernels_only: set[str] = set()
        self.hidden_sets: dict[str, Path] = {}
        self.kernels: Any = None
        self.lock = server.lock
        server.calls |= {
            "GetCompetition": self.competition,
            "DownloadDataFiles": self.download,
            "DownloadDataFile": self.download_one,
            "GetSubmissionLimits": self.limits,
            "StartSubmissionUpload": self.start,
            "CreateSubmission": self.create,
            "CreateCodeSubmission": self.create_by_kernel,
            "ListSubmissions": self.listed,
            "GetSubmission": self.one,
        }

    def unknown(self, slug: str) -> Reply | None:
        bundle = self.bundles and (self.bundles / f"{slug}.zip").exists()
        if slug in self.scorers or bundle:
            return None
        return Reply(status=403, content={"code": 403, "message": "Permission 'competitions.get' was denied"})

    def competition(self, body: dict) -> Any:
        slug = body["competitionName"]
        flags = {"userHasEntered": self.entered, "isKernelsSubmissionsOnly": slug in self.kernels_only}
        return self.unknown(slug) or {"ref": slug, **{name: True for name, value in flags.items() if value}}

    def redirect(self, name: str, data: bytes) -> Reply:
        return Reply(status=302, headers={"Location": self.storage.address(name, data)})

    def download(self, body: dict) -> Any:
        slug = body["competitionName"]
        found = self.bundles and self.bundles / f"{slug}.zip"
        return self.unknown(slug) or self.redirect(f"{slug}.zip", found.read_bytes())

    def download_one(self, body: dict) -> Any:
        slug, name = body["competitionName"], body["fileName"]
        if (slug, name) not in self.singles:
            return self.unknown(slug) or Reply(status=404, content={"code": 404, "message": "Not found"})
        return self.redirect(name, self.singles[slug, name])

    def limits(self, body: dict) -> Any:
        if not self.entered:
            return {}
        today = len(self.submissions)
        found = {"numToday": today, "numTotal": today, "numAllowedNow": self.left}
        return self.unknown(body["competitionName"]) or {name: value for name, value in found.items() if value}

    def start(self, body: dict) -> Any:
        return self.unknown(body["competitionName"]) or self.storage.start(body["contentLength"])

    def create(self, body: dict) -> Any:
        slug = body["competitionName"]
        if slug in self.kernels_only:
            return Reply(status=400, content={"code": 400, "message": "This competition takes kernels only"})
        return self._add(body, self.storage.uploaded(body["blobFileTokens"]).decode())

    def create_by_kernel(self, body: dict) -> Any:
        """Takes a kernel's version, and runs it again with the hidden test set in the competition's place."""
        session = self.kernels.sessions[body["kernelSlug"]][body["kernelVersion"] - 1]
        if session.status != "COMPLETE" or not (session.working / body["fileName"]).exists():
            return Reply(status=400, content={"code": 400, "message": "Submission file not found"})
        answer = self._add(body, None)
        threading.Thread(target=self._run_again, args=(session, body, self.submissions[0]), daemon=True).start()
        return answer

    def _run_again(self, session: Any, body: dict, one: dict) -> None:
        slug, mounted = body["competitionName"], self.kernels.competitions
        with self.lock:
            mounted[slug], visible = self.hidden_sets[slug], mounted[slug]
            name = f"{body['kernelSlug']}-again"
            self.kernels.save({**session.body, "slug": f"{USER}/{name}"})
            mounted[slug] = visible
        again = self.kernels.latest(name)
        while again.status in ("QUEUED", "RUNNING"):
            time.sleep(0.02)
        path = again.working / body["fileName"]
        if again.status == "COMPLETE" and path.exists():
            one["text"] = path.read_text()
        else:
            one |= {"status": "ERROR", "errorDescription": f"Notebook {again.failure or 'Threw Exception'}"}

    def _add(self, body: dict, text: str | None) -> Any:
        slug = body["competitionName"]
        if self.left < 1:
            return Reply(status=400, content={"code": 400, "message": "You have used all submissions of today"})
        self.left -= 1
        one = {
            "ref": 40_000_001 + len(self.submissions),
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "description": body.get("submissionDescription", ""),
            "fileName": "submission.csv",
            "publicScore": "",
            "privateScore": "",
            "text": text,
            "slug": slug,
        }
        self.submissions.insert(0, one)
        self.seen[one["ref"]] = -self.hidden
        return {"message": f"Successfully submitted to {slug}", "ref": one["ref"]}

    def shown(self, one: dict) -> dict:
        """A submission as it stands; it is scored when it has been looked at often enough."""
        if self.seen[one["ref"]] >= self.looks and "status" not in one and one["text"] is not None:
            try:
                one["publicScore"], one["privateScore"] = self.scorers[one["slug"]](one["text"])
                one["status"] = "COMPLETE"
            except ValueError as error:
                one |= {"status": "ERROR", "errorDescription": str(error)}
        self.seen[one["ref"]] += 1
        return {name: value for name, value in one.items() if name not in ("text", "slug")}

    def listed(self, body: dict) -> Any:
        every = [self.shown(one) for one in self.submissions if one["slug"] == body["competitionName"]]
        visible = [one for one in every if self.seen[one["ref"]] > 0]
        return self.unknown(body["competitionName"]) or {"submissions": visible[: body.get("pageSize", 20)]}

    def one(self, body: dict) -> Any:
        found = [self.shown(one) for one in self.submissions if one["ref"] == body["ref"]]
        if not found or self.seen[body["ref"]] <= 0:
            return Reply(status=404, content={"code": 404, "message": "Not found"})
        return found[0]
