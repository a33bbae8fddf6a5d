"""Datasets on loopback: blobs, versions that replace the whole file set, and processing that takes a few looks."""

import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

from tests.kaggle.server import REFUSALS, Kaggle, Reply
from tests.kaggle.serving_storage import Storage


@dataclass
class Stored:
    """A dataset. `versions` has the files of each; the last `processing` status looks still see the one before."""

    owner: str
    title: str
    private: bool
    versions: list[dict[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    processing: int = 0
    failed: bool = False

    @property
    def current(self) -> int:
        """The number of the version that is seen now; 0 while the first one is processed."""
        return len(self.versions) - (self.processing > 0)


class Datasets:
    """The calls of D and B.

    Args:
        server: that it adds itself to.
        storage: that takes the uploads.

    Attributes:
        stored: by `owner/slug`.
        looks: how many looks at the status the processing of a version takes.
        fails: whether the processing of the next version fails.
        wraps: whether files are sent inside a zip, as Kaggle does with large ones.
    """

    def __init__(self, server: Kaggle, storage: Storage) -> None:
        self.storage = storage
        self.stored: dict[str, Stored] = {}
        self.names: dict[str, str] = {}
        self.looks, self.fails, self.wraps = 2, False, False
        server.calls |= {
            "GetDatasetStatus": self.status,
            "GetDataset": self.get,
            "ListDatasetFiles": self.files,
            "DownloadDataset": self.download,
            "StartBlobUpload": self.start,
            "CreateDataset": self.create,
            "CreateDatasetVersion": self.version,
        }

    def found(self, body: dict) -> Stored | None:
        return self.stored.get(f"{body['ownerSlug']}/{body['datasetSlug']}")

    def put(self, ref: str, files: dict[str, bytes], processing: int = 0) -> None:
        """Has a dataset there already, which is processed for so many looks yet."""
        self.stored[ref] = Stored(ref.partition("/")[0], ref, True, [files], processing=processing)

    def denied(self, message: str = REFUSALS["dataset"][1]) -> Reply:
        return Reply(status=403, content={"code": 403, "message": message})

    def status(self, body: dict) -> Any:
        one = self.found(body)
        if one is None:
            return self.denied()
        if one.processing:
            one.processing -= 1
            return {} if one.processing else {"status": "BLOBS_COPIED_TO_SDS"}
        return {"status": "FAILED" if one.failed else "READY"}

    def get(self, body: dict) -> Any:
        one = self.found(body)
        return self.denied() if one is None else {"currentVersionNumber": one.current, "title": one.title}

    def files(self, body: dict) -> Any:
        one = self.found(body)
        number = body.get("datasetVersionNumber", one.current if one else 0)
        if one is None or not 0 < number <= one.current:
            return self.denied()
        every = sorted(one.versions[number - 1].items())
        first = int(body.get("pageToken") or 0)
        page = every[first : first + 2]
        more = {"nextPageToken": str(first + 2)} if len(every) > first + 2 else {}
        return {"datasetFiles": [{"name": name, "totalBytes": len(data)} for name, data in page], **more}

    def download(self, body: dict) -> Reply:
        one, name = self.found(body), body["fileName"]
        number = body.get("datasetVersionNumber") or (one.current if one else 0)
        if one is None or name not in one.versions[number - 1]:
            return Reply(status=404, content={"code": 404, "message": "Not found"})
        data = one.versions[number - 1][name]
        if self.wraps:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, data)
            name, data = f"{name}.zip", file.getvalue()
        return Reply(status=302, headers={"Location": self.storage.address(name, data)})

    def start(self, body: dict) -> dict:
        assert body["type"] == "DATASET" and body["lastModifiedEpochSeconds"] > 0
        started = self.storage.start(body["contentLength"])
        self.names[started["token"]] = body["name"]
        return started

    def taken(self, one: Stored, files: list[dict]) -> dict:
        tokens = [file["token"] for file in files]
        one.versions.append({self.names[token]: self.storage.uploaded(token) for token in tokens})
        one.processing, one.failed, self.fails = self.looks, self.fails, False
        return {"status": "ok", "ref": "/tester/it", "url": "https://www.kaggle.com/datasets/tester/it"}

    def create(self, body: dict) -> Any:
        ref = f"{body['ownerSlug']}/{body['slug']}"
        assert body["licenseName"] and 6 <= len(body["title"]) <= 50 and 6 <= len(body["slug"]) <= 50
        if ref in self.stored:
            return {"status": "error", "error": f'The requested slug "{body["slug"]}" is already in use by a dataset.'}
        self.stored[ref] = Stored(body["ownerSlug"], body["title"], body.get("isPrivate", False))
        return self.taken(self.stored[ref], body["files"])

    def version(self, body: dict) -> Any:
        one = self.found(body)
        if one is None:
            return self.denied()
        if one.processing:
            return self.denied("The dataset is still being processed")
        one.notes.append(body["body"].get("versionNotes", ""))
        return self.taken(one, body["body"]["files"])
