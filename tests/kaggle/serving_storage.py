"""Signed addresses on loopback: files to get, whole or from a byte on, and uploads that can be gone on with."""

import hashlib
import uuid
from dataclasses import dataclass, field

from tests.kaggle.server import Handler, Kaggle, Reply

MODIFIED = "Tue, 24 Nov 2026 08:00:00 GMT"
PIECE = 1 << 16
PUT_FAULTS = ("cut", "lost", "reset", "silence", "403", "500", "503")


@dataclass
class Upload:
    """A file on its way: how large it will be, and what has come."""

    total: int
    received: bytearray = field(default_factory=bytearray)

    @property
    def whole(self) -> bool:
        return len(self.received) == self.total


class Storage:
    """Serves `files` at /storage/NAME and takes uploads at /upload/TOKEN. Faults: see server.py, and `expired`.

    Args:
        server: that it adds itself to.
    """

    def __init__(self, server: Kaggle) -> None:
        self.server = server
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.signatures = 0
        server.places |= {"/storage/": self.get, "/upload/": self.put}

    def address(self, name: str, data: bytes | None = None) -> str:
        """The signed address of a file, which is kept under this name."""
        if data is not None:
            self.files[name] = data
        self.signatures += 1
        return f"{self.server.storage}/storage/{name}?X-Goog-Signature=5ignature{self.signatures}"

    def start(self, total: int) -> dict:
        """What StartBlobUpload and StartSubmissionUpload answer."""
        token = uuid.uuid4().hex
        self.uploads[token] = Upload(total)
        return {"token": token, "createUrl": f"{self.server.storage}/upload/{token}?upload_id=5ession{token}"}

    def uploaded(self, token: str) -> bytes:
        """A whole upload's bytes."""
        upload = self.uploads[token]
        assert upload.whole, f"{len(upload.received)} of {upload.total} bytes were uploaded"
        return bytes(upload.received)

    def get(self, asked: Handler) -> Reply | None:
        name = asked.place.removeprefix("/storage/")
        fault = self.server.fault("storage", ("404", "500", "503", "reset", "silence", "cut", "corrupt", "html"))
        if fault in ("404", "500", "503") or name not in self.files:
            return Reply(status=int(fault or 404), content=b"<Error>AccessDenied</Error>")
        data, wanted = self.files[name], asked.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last-Modified": MODIFIED, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if fault == "corrupt":
            data = bytearray(data)
            data[(start + len(data)) // 2] ^= 255
            data, fault = bytes(data), None
        asked.send(Reply(status=206 if wanted else 200, content=data[start:], headers=headers), fault)
        return None

    def put(self, asked: Handler) -> Reply | None:
        upload = self.uploads.get(asked.place.removeprefix("/upload/"))
        span = asked.headers.get("Content-Range", "")
        asking = span.startswith("bytes */")
        fault = self.server.fault("upload", ("expired",) if asking else PUT_FAULTS)
        if upload is None or fault == "expired":
            return Reply(status=404)
        if asking:
            return self.stands(upload)
        if not span:
            upload.received.clear()
        start = int(span.removeprefix("bytes ").partition("-")[0]) if span else 0
        if start != len(upload.received):
            return Reply(status=400, content=b"a gap")
        length = {"reset": 0, "cut": asked.length * 2 // 3}.get(str(fault), asked.length)
        while length and (data := asked.rfile.read(min(length, PIECE))):
            length -= len(data)
            if fault not in ("403", "500", "503"):
                upload.received += data
        if fault in ("403", "500", "503"):
            return Reply(status=int(fault))
        if fault:
            asked.send(Reply(), "reset" if fault == "cut" else fault)
            return None
        return Reply() if upload.whole else Reply(status=400, content=b"another size")

    def stands(self, upload: Upload) -> Reply:
        """How far an upload has come, as Google says it."""
        if upload.whole:
            return Reply()
        headers = {"Range": f"bytes=0-{len(upload.received) - 1}"} if upload.received else {}
        return Reply(status=308, headers=headers)
