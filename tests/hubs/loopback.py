"""A hub on loopback that speaks both hubs' protocols as far as their clients use them, and fails as told.

ModelScope: /api/v1/models|datasets/OWNER/NAME/repo/files|tree for listings, /repo?Revision&FilePath for files.
Hugging Face: /api/models|datasets/OWNER/NAME[/revision/REV]?blobs for listings, [/datasets]/OWNER/NAME/resolve/REV/PATH
for files. What they upload is taken by ``loopback_uploads``.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hubs.loopback_uploads import PRIVATE, PUBLIC, take

ENDLESS = 4096
"""MiB after which a file that never ends does."""
SMALL = 1000
"""Files below are in git, the others in LFS, as on the real hubs: Hugging Face tells no sha256 of the small ones."""


@dataclass
class Repository:
    """One repository: its revisions, and who may see it."""

    revisions: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    token: str | None = None
    gated: bool = False
    private: bool = False


@dataclass
class Failures:
    """What goes wrong, each counted down."""

    cut: dict[str, int] = field(default_factory=dict)
    """File name: how often its connection is cut half way."""
    flip: dict[str, int] = field(default_factory=dict)
    """File name: how often a byte of it is flipped."""
    status: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers given in order instead of the right ones."""
    listing_too: bool = False
    """Whether those hit listings, and not only files."""
    bytes_a_second: float | None = None
    announced: dict[str, int] = field(default_factory=dict)
    """File name: the bytes that listings say it has, where those are others."""
    endless: set[str] = field(default_factory=set)
    """Files that never end."""
    deep: bool = False
    """Whether listings are nested without end."""
    commits: int = 0
    """How many uploads end unfinished: their blobs are taken, and then nothing."""


class LoopbackHub:
    """The hub: what it holds, what goes wrong, and what it was asked."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.failures = Failures()
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path and Range of every request."""
        self.sent: Counter[str] = Counter()
        """Bytes of content sent, by file."""
        self.tokens: set[str] = set()
        self.writers: set[str] = set()
        """Tokens that may upload."""
        self.blobs: dict[str, bytes] = {}
        self.taken: Counter[str] = Counter()
        """Bytes of uploads taken, by sha256."""
        self.lock = threading.Lock()
        self.url = ""

    def publish(self, kind: str, name: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """Commit files to a branch, which ModelScope calls master where it is main; returns the commit."""
        commit = hashlib.sha1(json.dumps({path: each.hex() for path, each in files.items()}).encode()).hexdigest()
        repository = self.repositories.setdefault((kind, name), Repository({}, {}))
        repository.revisions[commit] = dict(files)
        repository.branches[branch] = commit
        if branch == "main":
            repository.branches["master"] = commit
        return commit

    def find(self, kind: str, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Find a repository's files at a branch or commit."""
        repository = self.repositories.get((kind, name))
        commit = None if repository is None else repository.branches.get(revision, revision)
        if repository is None or commit not in repository.revisions:
            return None
        return commit, repository.revisions[commit]


@contextmanager
def serving(hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """Serve a hub on a free port of 127.0.0.1 while the block runs."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked is kept in the hub."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        body, token = self._body(), self._heard()
        with self.hub.lock:
            answer = take(self.hub, unquote(urlsplit(self.path).path), body, token)
        self._json(*answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _heard(self) -> str | None:
        """Note a request; returns its token."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path, self.headers.get("Range")))
            if token:
                self.hub.tokens.add(token)
        return token

    def _answer(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        token = self._heard()
        if parts[:2] == ["api", "v1"]:
            self._modelscope(parts[2:], query, token)
        else:
            self._huggingface(parts, query, token)

    def _modelscope(self, parts: list[str], query: dict[str, str], token: str | None) -> None:
        if len(parts) == 3 and (parts[0][:-1], "/".join(parts[1:])) in self.hub.repositories:
            private = self.hub.repositories[parts[0][:-1], "/".join(parts[1:])].private
            told = {"Path": parts[1], "Name": parts[2], "Visibility": PRIVATE if private else PUBLIC}
            return self._json(200, {"Code": 200, "Success": True, "Data": told})
        if len(parts) < 4 or parts[0] not in ("models", "datasets"):
            return self._json(404, {"Code": 404, "Message": "not found"})
        kind, name, what = parts[0][:-1], "/".join(parts[1:3]), "/".join(parts[3:])
        if self._refused(kind, name, token, listing=what != "repo"):
            return None
        found = self.hub.find(kind, name, query.get("Revision", "master"))
        if found is None:
            return self._json(404, {"Code": 10010205001, "Message": "record not found", "Success": False})
        if what == "repo":
            return self._file(found[1], query["FilePath"], {})
        entries = [
            {
                "Path": path,
                "Name": path.rpartition("/")[2],
                "Type": "blob",
                "Size": self.hub.failures.announced.get(path, len(content)),
                "Sha256": hashlib.sha256(content).hexdigest(),
            }
            for path, content in found[1].items()
        ]
        page, size = int(query.get("PageNumber", 1)), int(query.get("PageSize", 10**6))
        folders = [{"Path": "folder", "Name": "folder", "Type": "tree"}] if page == 1 else []
        listed = (folders + entries)[(page - 1) * size : page * size]
        return self._json(200, {"Code": 200, "Success": True, "Data": {"Files": listed}})

    def _huggingface(self, parts: list[str], query: dict[str, str], token: str | None) -> None:
        if parts[0] == "openapi":
            return self._json(404, {"success": False, "message": "not found"})
        is_listing = parts[0] == "api"
        if is_listing:
            kind, name, revision = parts[1][:-1], "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        else:
            kind = "dataset" if parts[0] == "datasets" else "model"
            parts = parts[1:] if kind == "dataset" else parts
            name, revision = "/".join(parts[:2]), parts[3]
        if (kind, name) not in self.hub.repositories:
            return self._json(401, {"error": "Invalid username or password."}, {"X-Error-Code": "RepoNotFound"})
        if self._refused(kind, name, token, listing=is_listing):
            return None
        found = self.hub.find(kind, name, revision)
        if found is None:
            return self._json(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        if not is_listing:
            content = files.get("/".join(parts[4:]), b"")
            etag = _sha256(content) if len(content) >= SMALL else _blob(content)
            return self._file(files, "/".join(parts[4:]), {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})
        siblings, private = [], self.hub.repositories[kind, name].private
        for path, content in files.items():
            size = self.hub.failures.announced.get(path, len(content))
            entry = {"rfilename": path, "size": size, "blobId": _blob(content)}
            if len(content) >= SMALL:
                entry["lfs"] = {"sha256": _sha256(content), "size": size, "pointerSize": 130}
            siblings.append(entry)
        return self._json(200, {"id": name, "sha": commit, "siblings": siblings, "private": private, "tags": []})

    def _refused(self, kind: str, name: str, token: str | None, *, listing: bool) -> bool:
        failures, repository = self.hub.failures, self.hub.repositories.get((kind, name))
        with self.hub.lock:
            planned = failures.status.pop(0) if failures.status and (failures.listing_too or not listing) else None
        if planned is not None:
            self._json(planned[0], {"error": "as told"}, planned[1])
        elif repository is not None and repository.token not in (None, token):
            gated = {"X-Error-Code": "GatedRepo"} if repository.gated else {}
            self._json(403, {"Code": 403, "Message": "access denied", "error": "denied"}, gated)
        else:
            return False
        return True

    def _file(self, files: dict[str, bytes], path: str, headers: dict[str, str]) -> None:
        content, failures = files.get(path), self.hub.failures
        if content is None:
            return self._json(404, {"Code": 404, "error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        if path in failures.endless and self.command == "GET":
            return self._pour(path, headers)
        start, end = 0, len(content) - 1
        ranged = self.headers.get("Range")
        if ranged and content:
            first, _, last = ranged.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) if last else end
        body = content[start : end + 1]
        self.send_response(206 if ranged else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return None
        with self.hub.lock:
            if failures.flip.get(path, 0) > 0:
                failures.flip[path] -= 1
                body = bytes([body[0] ^ 1]) + body[1:]
            if failures.cut.get(path, 0) > 0:
                failures.cut[path] -= 1
                body = body[: len(body) // 2]
        step = len(body) if failures.bytes_a_second is None else max(1, int(failures.bytes_a_second / 20))
        for place in range(0, len(body), max(1, step)):
            self.wfile.write(body[place : place + step])
            with self.hub.lock:
                self.hub.sent[path] += len(body[place : place + step])
            if failures.bytes_a_second is not None:
                time.sleep(0.05)
        return None

    def _pour(self, path: str, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in {**headers, "Connection": "close"}.items():
            self.send_header(key, value)
        self.close_connection = True
        self.end_headers()
        with suppress(OSError):
            for _ in range(ENDLESS):
                self.wfile.write(bytes(1 << 20))
                with self.hub.lock:
                    self.hub.sent[path] += 1 << 20

    def _json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        content = b"[" * 200_000 if self.hub.failures.deep else json.dumps(body).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
