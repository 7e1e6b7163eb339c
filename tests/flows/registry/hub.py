"""A hub on loopback that keeps what is pushed to it in memory, and speaks as much of the real one as a push needs."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_of_these_tests_alone"
LARGE = (".safetensors", ".onnx")


@dataclass
class Repository:
    """What one holds: files by path, and its commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.onnx filter=lfs\n"})
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"new").hexdigest()])


@dataclass
class Hub:
    """All repositories, and what was asked.

    Args:
        fails: the status that requests with this in their path are answered with.
        seen: method, path, and the Authorization header of each request.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a request with the right token."""
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "repos"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.repositories:
                return 409, {"error": "exists"}
            self.repositories[name] = Repository(asked.get("visibility") == "private")
            return 200, {"url": f"{self.url}/{name}"}
        if parts[:2] == ["api", "validate-yaml"] and b"license: none of mine" in body:
            return 400, {"errors": [{"message": '"license" must be one of many'}], "warnings": []}
        if parts[:2] == ["api", "validate-yaml"]:
            return 200, {"errors": [], "warnings": []}
        if parts[-4:] == ["info", "lfs", "objects", "batch"]:
            return 200, {"objects": [self._upload(each) for each in json.loads(body)["objects"]]}
        repository = self.repositories.get("/".join(parts[2:4]))
        if repository is None:
            return 404, {"error": "Repository not found"}
        what = parts[4] if len(parts) > 4 else ""
        if what == "preupload":
            asked = json.loads(body)["files"]
            modes = {each["path"]: "lfs" if each["path"].endswith(LARGE) else "regular" for each in asked}
            return 200, {
                "files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            }
        if what == "tree":
            return 200, [_entry(path, data) for path, data in repository.files.items()]
        if what == "commit":
            status, told = self._commit(repository, [json.loads(line) for line in body.splitlines()])
            where = f"{self.url}/{'/'.join(parts[2:4])}/commit"
            return status, told | (
                {"success": True, "commitUrl": f"{where}/{told['commitOid']}"} if status == 200 else {}
            )
        return 200, {"id": "/".join(parts[2:4]), "sha": repository.commits[-1], "siblings": [], "tags": []}

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        return asked | {"actions": {"upload": {"href": f"{self.url}/large/{asked['oid']}?signature=x"}}}

    def _commit(self, repository: Repository, lines: list[dict[str, Any]]) -> tuple[int, dict]:
        if lines[0]["value"].get("parentCommit") not in (None, repository.commits[-1]):
            return 412, {"error": "another commit"}
        for line in lines[1:]:
            value = line["value"]
            small = line["key"] == "file"
            repository.files[value["path"]] = base64.b64decode(value["content"]) if small else self.large[value["oid"]]
        repository.commits.append(hashlib.sha1(json.dumps(lines).encode()).hexdigest())
        return 200, {"commitOid": repository.commits[-1]}


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data)}
    entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


@contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    """A hub, for as long as the context is open."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            path, given = urlsplit(self.path).path, self.headers.get("Authorization")
            body = self._body()
            hub.seen.append((self.command, path, given))
            failing = next((status for part, status in hub.fails.items() if part in path), None)
            if failing:
                status, tree = failing, {"error": "no"}
            elif self.command == "PUT":
                hub.large[path.rsplit("/", 1)[1]] = body
                status, tree = 200, {}
            elif given != f"Bearer {TOKEN}":
                status, tree = 401, {"error": "no such token"}
            else:
                status, tree = hub.answer(path, body)
            text = json.dumps(tree).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _reply

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
