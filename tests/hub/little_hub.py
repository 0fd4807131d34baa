"""A hub on loopback that speaks the part of the protocol the official client uses, and misbehaves on request."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 2000  # bytes from which a file is stored as LFS


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commit_of(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Repo:
    """`commits`: commit → {file name: bytes}; `refs`: branch → commit."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    on_cdn: bool = False  # large files are redirected to another host, as the real hub does
    extra_names: tuple[str, ...] = ()  # in the listing only
    sent: dict[str, bytes] = field(default_factory=dict)  # what GET sends instead of the file
    cut_once: dict[str, int] = field(default_factory=dict)  # drop the connection after so many bytes, once

    def push(self, files: dict[str, bytes], branch: str = "main") -> str:
        commit = commit_of(json.dumps({name: git_sha1(data) for name, data in sorted(files.items())}))
        self.commits[commit] = dict(files)
        self.refs[branch] = commit
        return commit


class LittleHub:
    """`with LittleHub() as hub`: `hub.url`, `hub.repos`, and `hub.requests`, every request line it saw."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.moved: dict[str, str] = {}
        self.requests: list[str] = []
        self.tokens_at_cdn: list[str] = []
        self.tokens = {"hf_good": "ada"}
        self.before_commit: list = []  # each is called with the repository, once, before a commit is judged
        self.answer_all: tuple[int, bytes] | None = None  # a captive portal, a broken proxy
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LittleHub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes], **more) -> Repo:
        repo = self.repos[repo_id] = Repo(**more)
        repo.push(files)
        return repo


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: LittleHub

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self._route()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _route(self):
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self.state.requests.append(f"{self.command} {url.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.state.answer_all:
            return self._send(*self.state.answer_all, type_="text/html")
        if parts[0] == "cdn":
            if self.headers.get("Authorization"):
                self.state.tokens_at_cdn.append(self.headers["Authorization"])
            return self._send(200, self.state.repos["/".join(parts[1:3])].commits[parts[3]]["/".join(parts[4:])])
        user = self.state.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if self.headers.get("Authorization") and user is None:
            return self._refuse(401, message="Invalid credentials in Authorization header")
        if parts == ["api", "whoami-v2"]:
            return self._json({"name": user, "type": "user", "orgs": [], "auth": {"type": "access_token"}})
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo_id = f"{asked.get('organization') or user}/{asked['name']}"
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            if asked.get("type") == "dataset":
                self.state.add(repo_id, {".gitattributes": b""}, private=private)
                return self._json({"url": f"{self.state.url}/datasets/{repo_id}", "name": repo_id})
            self.state.repos.setdefault(repo_id, Repo(private=private)).refs.setdefault("main", "")
            return self._json({"url": f"{self.state.url}/{repo_id}", "name": repo_id})
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            return self._api(parts[2:], url, body, user)
        if "resolve" in parts:
            parts = parts[1:] if parts[0] == "datasets" else parts
            at = parts.index("resolve")
            return self._file("/".join(parts[:at]), parts[at + 1], "/".join(parts[at + 2 :]), user)
        self._refuse(404)

    def _api(self, parts, url, body, user):
        verbs = ("revision", "tree", "branch", "preupload", "commit", "discussions")
        at = next((i for i, part in enumerate(parts) if part in verbs), len(parts))
        repo_id, verb, rest = "/".join(parts[:at]), parts[at] if at < len(parts) else "revision", parts[at + 1 :]
        if repo_id in self.state.moved:
            self.send_response(307)
            self.send_header("Location", self.path.replace(repo_id, self.state.moved[repo_id]))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        repo = self._repo(repo_id, user)
        if repo is None:
            return None
        branch = rest[0] if rest else "main"
        if verb == "branch":
            repo.refs.setdefault(branch, repo.refs["main"])
            return self._json({})
        if verb == "preupload":
            asked = json.loads(body)["files"]
            return self._json({"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in asked]})
        if verb == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            files = dict(repo.commits.get(repo.refs.get(branch, ""), {}))
            parent = next((line["value"].get("parentCommit") for line in lines if line["key"] == "header"), None)
            if self.state.before_commit:
                self.state.before_commit.pop(0)(repo)
            if parent and parent != repo.refs.get(branch):
                return self._refuse(412, message="a commit has happened since")
            for line in lines:
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                if line["key"] == "deletedFile":
                    del files[line["value"]["path"]]
            if "create_pr" in parse_qs(url.query):
                commit = repo.push(files, "refs/pr/1")
                address = f"{self.state.url}/datasets/{repo_id}"
                return self._json(
                    {
                        "commitUrl": f"{address}/commit/{commit}",
                        "commitOid": commit,
                        "pullRequestUrl": f"{address}/discussions/1",
                    }
                )
            commit = repo.push(files, branch)
            return self._json({"commitUrl": f"{self.state.url}/{repo_id}/commit/{commit}", "commitOid": commit})
        if verb == "discussions":
            repo.refs["refs/pr/1"] = repo.refs["main"]
            about = {"title": "t", "num": 1, "createdAt": "2026-01-01T00:00:00.000Z", "status": "draft", "events": []}
            about |= {"isPullRequest": True, "filesWithConflicts": [], "changes": {"base": "refs/heads/main"}}
            return self._json(about | {"repo": {"name": repo_id, "type": "model"}})
        commit = repo.refs.get(branch, branch)
        if commit not in repo.commits:
            return self._refuse(404, "RevisionNotFound")
        entries = [_entry(name, data) for name, data in repo.commits[commit].items()]
        entries += [_entry(name, b"") for name in repo.extra_names]
        if verb == "tree":
            return self._json([{"type": "file", **entry} for entry in entries])
        siblings = []
        for entry in entries:
            lfs = entry.get("lfs")
            sibling = {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
            if lfs:
                sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 130}
            siblings.append(sibling if "blobs" in parse_qs(url.query) else {"rfilename": entry["path"]})
        self._json({"id": repo_id, "sha": commit, "siblings": siblings, "tags": [], "private": repo.private})

    def _file(self, repo_id, revision, name, user):
        repo = self._repo(repo_id, user)
        if repo is None:
            return None
        if repo.gated and not user:
            return self._refuse(403, "GatedRepo")
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self._refuse(404, "RevisionNotFound")
        data = repo.commits[commit].get(name)
        if data is None:
            return self._refuse(404, "EntryNotFound", commit=commit)
        entry = _entry(name, data)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if repo.on_cdn and "lfs" in entry:
            host = self.state.url.replace("127.0.0.1", "localhost")
            return self._send(
                302, b"", headers | {"X-Linked-Etag": f'"{etag}"', "Location": f"{host}/cdn/{repo_id}/{commit}/{name}"}
            )
        if self.command == "HEAD":
            return self._send(200, data, headers)
        start, end = 0, len(data)
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{end}"
        body = repo.sent.get(name, data)[start:]
        cut = repo.cut_once.pop(name, None)
        if cut is None:
            return self._send(206 if start else 200, body, headers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.wfile.flush()
        self.close_connection = True

    def _repo(self, repo_id, user):
        repo = self.state.repos.get(repo_id)
        if repo is None or (repo.private and not user):
            self._refuse(404 if user else 401, "RepoNotFound" if user else None)
            return None
        return repo

    def _refuse(self, status, code=None, *, message=None, commit=None):
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        self._send(status, b"{}", {key: value for key, value in headers.items() if value})

    def _json(self, value):
        self._send(200, json.dumps(value).encode(), type_="application/json")

    def _send(self, status, body, headers=None, type_="application/octet-stream"):
        self.send_response(status)
        for key, value in {"Content-Type": type_, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(name: str, data: bytes) -> dict:
    entry = {"path": name, "size": len(data), "oid": git_sha1(data)}
    if len(data) >= LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
