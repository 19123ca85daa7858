#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder served the way the Hugging Face hub serves repositories, on the loopback, with faults on demand:
listings in pages, redirects to signed URLs on another host that demand ranges and expire, tokens, and answers
that break off. Standard library only. Ends when its standard input does, so a test that dies leaves none
behind.

usage: hub_server.py ROOT [--token T] [--page-size N] [--expires-after N] [--any-range] [--lfs-from BYTES]
Prints one line: the port. The hub is http://localhost:PORT, the host of the signed URLs
http://127.0.0.1:PORT.

ROOT/datasets/USER/NAME/PATH and ROOT/models/USER/NAME/PATH are files of one commit, called main and whatever
lines ROOT/KIND/USER/NAME/.refs holds; ROOT/files/PATH is served plainly under /files/PATH.

GET /_control            counters, violations and the requests seen, as JSON
GET /_control?{"script": ["500", ""], "rate": 0.3, "kinds": ["reset"], "seed": 1, "scope": "cdn", ...}
                         (percent-encoded JSON) sets faults, forgets the counters. script: one entry for each
                         request in scope, "" for none; then `rate` of the requests get one of `kinds`, drawn
                         with `seed`. scope: "" all, or the start of a request's kind: api, resolve, cdn,
                         files. seconds: what 429 asks to wait and how long a stall lasts, unless `pause` says
                         that. next_host: HOST:PORT of the links to next pages, in place of the hub's.
                         endless: each page of a listing names a next one, "empty" pages or "full" ones.
                         listing: the text of all of them. weighed: `rate` and `kinds` are drawn for each
                         request by what it asks and how often that was asked, so that they do not depend on
                         which thread asked first. token, page_size, expires_after: as the options.
"""
import argparse
import email.utils
import hashlib
import json
import random
import socket
import struct
import sys
import threading
import time
import os
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

# Those that need no body to show in, and those that a document made on the spot can have.
EARLY_FAULTS = {"close", "reset", "stall", "slow-head", "endless-head", "no-status", "no-location",
                "bad-location", "nowhere", "429-after", "429-date"}
BODY_FAULTS = {"truncate", "reset-body", "stall-body"}
STATUS_FAULTS = {"401", "403", "404", "408", "410", "416", "429", "500", "502", "503", "504"}


class Repository:
    """The files below a folder and their hashes; asked anew each time, hashed once per file and change."""
    hashes = {}

    def __init__(self, folder, lfs_from):
        self.folder, self.lfs_from = folder, lfs_from
        self.refs = ["main"]
        if (folder / ".refs").exists():
            self.refs += (folder / ".refs").read_text().split()

    def entry(self, path):
        file = self.folder / path
        status = file.stat()
        key = (str(file), status.st_size, status.st_mtime_ns)
        if key not in self.hashes:
            data = file.read_bytes()
            sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self.hashes[key] = (sha1, hashlib.sha256(data).hexdigest())
        sha1, sha256 = self.hashes[key]
        entry = {"type": "file", "path": path, "size": status.st_size, "oid": sha1}
        if status.st_size >= self.lfs_from:
            entry["lfs"] = {"oid": sha256, "size": status.st_size, "pointerSize": 134}
        return entry

    def paths(self):
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*")
                      if p.is_file() and p.name != ".refs")

    def commit(self):
        listing = json.dumps([self.entry(path) for path in self.paths()])
        return hashlib.sha1(listing.encode()).hexdigest()

    def has_revision(self, revision):
        return revision in self.refs or revision == self.commit()

    def tree(self, path, recursive):
        """Entries at or below the path, as the hub lists them; None when it is no folder."""
        prefix = path + "/" if path else ""
        entries = {}
        for name in self.paths():
            if not name.startswith(prefix):
                continue
            folders = name[len(prefix):].split("/")[:-1]
            for depth in range(1, len(folders) + 1):
                folder = prefix + "/".join(folders[:depth])
                entries[folder] = {"type": "directory", "path": folder, "size": 0,
                                   "oid": hashlib.sha1(folder.encode()).hexdigest()}
            entries[name] = self.entry(name)
        if not recursive:
            entries = {name: e for name, e in entries.items() if "/" not in name[len(prefix):]}
        return list(entries.values()) or None


class State:
    """What all connections share."""

    def __init__(self, options):
        self.lock = threading.Lock()
        self.root = Path(options.root)
        self.lfs_from, self.any_range = options.lfs_from, options.any_range
        self.token, self.page_size = options.token, options.page_size
        self.expires_after = options.expires_after
        self.signatures = {}  # signature -> requests left
        self.blobs = {}  # oid -> path
        self.configure({})

    def configure(self, plan):
        with self.lock:
            self.script = list(plan.get("script", []))
            self.rate, self.kinds = plan.get("rate", 0), plan.get("kinds", [])
            self.random = random.Random(plan.get("seed", 0))
            self.scope, self.seconds = plan.get("scope", ""), plan.get("seconds", 0)
            self.pause = plan.get("pause", self.seconds)
            self.next_host, self.endless = plan.get("next_host", ""), plan.get("endless", "")
            self.listing = plan.get("listing", "")
            self.weighed, self.seed, self.asked = plan.get("weighed", False), plan.get("seed", 0), Counter()
            self.token = plan.get("token", self.token)
            self.page_size = plan.get("page_size", self.page_size)
            self.expires_after = plan.get("expires_after", self.expires_after)
            self.counts, self.faults, self.violations, self.log = Counter(), Counter(), [], []
            self.connections = 0

    def fault(self, kind, what):
        with self.lock:
            if not kind.startswith(self.scope):
                return ""
            fault = ""
            if self.script:
                fault = self.script.pop(0)
            elif self.rate:
                draw = self.random
                kinds = self.kinds
                if self.weighed:  # then each is one that shows, too
                    self.asked[what] += 1
                    early = EARLY_FAULTS | STATUS_FAULTS | (set() if what.startswith("HEAD") else BODY_FAULTS)
                    kinds = kinds if kind in ("cdn", "files") else [one for one in kinds if one in early]
                    draw = random.Random(f"{self.seed} {what} {self.asked[what]}")
                if draw.random() < self.rate:
                    fault = draw.choice(kinds)
            if fault:
                self.faults[fault] += 1
            return fault

    def sign(self, oid, path):
        with self.lock:
            signature = f"secret-{len(self.signatures)}"
            self.signatures[signature] = self.expires_after
            self.blobs[oid] = path
        return signature

    def use(self, signature):
        """Whether a signed URL may be used once more."""
        with self.lock:
            left = self.signatures.get(signature, 0)
            self.signatures[signature] = left - 1
            return left > 0

    def report(self):
        with self.lock:
            return {"counts": self.counts, "faults": self.faults, "violations": self.violations,
                    "log": self.log, "connections": self.connections}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state = None

    def setup(self):
        super().setup()
        with self.state.lock:
            self.state.connections += 1

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    def do_HEAD(self):
        self.answer()

    def answer(self):
        self.path = "/" + self.path.lstrip("/")
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        if path == "/_control":
            if query:
                self.state.configure(json.loads(unquote(query)))
            return self.send_json(self.state.report())
        parts = path.strip("/").split("/")
        kind, reply = self.route(parts)
        with self.state.lock:
            self.state.counts[kind] += 1
            self.state.log.append([self.command, kind, path, self.headers.get("Range", "")])
        elsewhere = kind not in ("api", "resolve", "echo") or self.headers.get("Host", "").startswith("127.")
        if "Authorization" in self.headers and elsewhere:
            with self.state.lock:
                self.state.violations.append(f"{self.command} {path}: a token came to {kind}")
        self.fault = self.state.fault(kind, f"{self.command} {path} {self.headers.get('Range', '')}")
        if self.fault and self.fail_early():
            return None
        return reply(parts, {name: values[0] for name, values in parse_qs(query).items()})

    def route(self, parts):
        if parts[0] == "api" and len(parts) > 1 and parts[1] == "resolve-cache":
            return "api", self.small_file
        if parts[0] == "api":
            return "api", self.api
        if "resolve" in parts[2:4]:
            return "resolve", self.resolve
        known = {"cdn": self.cdn, "files": self.plain_file, "redirect": self.redirect, "echo": self.echo}
        return (parts[0], known[parts[0]]) if parts[0] in known else ("other", self.not_found)

    # ---- faults
    # -------------------------------------------------------------------------------------------------

    def fail_early(self):
        """Faults that come before a body; True when the answer is over."""
        fault, seconds = self.fault, self.state.seconds
        if fault == "close":
            self.close_connection = True
        elif fault == "reset":
            self.reset()
        elif fault == "stall":
            time.sleep(self.state.pause)
            self.close_connection = True
        elif fault == "429-after":
            self.send_empty(429, {"Retry-After": str(seconds)})
        elif fault == "429-date":
            self.send_empty(429, {"Retry-After": email.utils.formatdate(time.time() + seconds, usegmt=True)})
        elif fault == "429":
            self.send_empty(429, {"RateLimit": f'"resolvers";r=0;t={seconds}',
                                  "RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300'})
        elif fault in STATUS_FAULTS:
            self.send_empty(int(fault), {})
        elif fault == "slow-head":
            self.drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000)
        elif fault == "endless-head":
            self.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Long: %s\r\n" % (b"x" * 1000) * 400, size=1008, seconds=0)
        elif fault == "no-status":
            self.wfile.write(b"\x00\xff nothing that anybody knows\r\n\r\n")
            self.close_connection = True
        elif fault == "no-location":
            self.send_empty(302, {})
        elif fault == "bad-location":
            self.send_empty(307, {"Location": "http://:99999/[["})
        elif fault == "nowhere":
            self.send_empty(302, {"Location": "http://127.0.0.1:9/nobody/listens"})
        else:
            return False
        return True

    def drip(self, data, size=1, seconds=None):
        """Sends a piece at a time, until the other side has had enough."""
        self.close_connection = True
        try:
            for begin in range(0, len(data), size):
                self.wfile.write(data[begin:begin + size])
                self.wfile.flush()
                time.sleep(self.state.pause if seconds is None else seconds)
        except OSError:
            pass

    def reset(self):
        """Ends the connection with RST in place of FIN."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile.flush()
        os.close(self.connection.detach())

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    # ---- answers
    # ------------------------------------------------------------------------------------------------

    def send_empty(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_json(self, value, headers=None):
        self.send_bytes(json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def not_found(self, *_, code="EntryNotFound", message="Entry not found"):
        self.send_empty(404, {"X-Error-Code": code, "X-Error-Message": message})

    def send_bytes(self, data, headers):
        """A document made on the spot: no ranges, no ETag."""
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault_in_body():
            self.wfile.write(data[:len(data) // 2])
            self.break_off()
        else:
            self.wfile.write(data)

    def fault_in_body(self):
        return getattr(self, "fault", "") in ("truncate", "reset-body", "stall-body")

    def break_off(self):
        self.wfile.flush()
        if self.fault == "stall-body":
            time.sleep(self.state.pause)
        if self.fault == "reset-body":
            time.sleep(0.02)  # RST also drops what the other side has not read yet
            self.reset()
        self.close_connection = True

    def asked_range(self, size):
        """(begin, end) of the Range header; None without one, False when it lies outside."""
        text = self.headers.get("Range", "")
        if not text.startswith("bytes="):
            return None
        first, last = text[len("bytes="):].split("-")
        begin = int(first)
        end = min(int(last) + 1, size) if last else size
        return (begin, end) if begin < end else False

    def send_file(self, file, etag, query=None, headers=None):
        query = query or {}
        size = file.stat().st_size
        asked = self.asked_range(size)
        if self.fault == "ignore-range" or "norange" in query:
            asked = None
        if self.headers.get("If-Range", etag) != etag:
            asked = None
        if asked is False:
            return self.send_empty(416, {"Content-Range": f"bytes */{size}"})
        begin, end = asked or (0, size)
        shift = 0
        if self.fault == "wrong-range":
            shift = 1 if begin > 0 else -1 if end < size else 0
        begin, end = begin - shift, end - shift
        if self.fault == "short-range" and asked and end - begin > 1:
            end = begin + (end - begin) // 2
        total = size + 1 if self.fault == "wrong-total" else size
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{total}")
        if "noetag" not in query:
            self.send_header("ETag", '"another"' if self.fault == "wrong-etag" else etag)
        if "norange" not in query:
            self.send_header("Accept-Ranges", "bytes")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.fault == "encoded":
            self.send_header("Content-Encoding", "gzip")
        chunked = self.fault.startswith("chunked")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = end - begin
            if self.fault == "long-length":
                length += 10
                self.close_connection = True
            elif self.fault == "short-length" and length > 1:
                length //= 2
                self.close_connection = True
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return None
        with open(file, "rb") as opened:
            if self.fault == "slow-body":
                opened.seek(begin)
                return self.drip(opened.read(end - begin))
            if chunked:
                return self.send_chunks(opened, begin, end)
            if self.fault_in_body():
                self.copy(opened, begin, (end - begin) // 2)
                return self.break_off()
            return self.copy(opened, begin, end - begin)

    def send_chunks(self, opened, begin, end):
        opened.seek(begin)
        data = opened.read(end - begin)
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if self.fault == "chunked-truncate":
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def copy(self, opened, begin, count):
        if count > 0:
            self.wfile.flush()
            self.connection.sendfile(opened, begin, count)
        with self.state.lock:
            self.state.counts["bytes"] += count

    # ---- what the hub has
    # ---------------------------------------------------------------------------------------

    def allowed(self):
        if not self.state.token or self.headers.get("Authorization") == "Bearer " + self.state.token:
            return True
        if "Authorization" in self.headers:
            self.send_empty(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        else:
            self.send_empty(401, {
                "X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this repository is restricted."})
        return False

    def repository(self, kind, user, name, revision):
        """The repository; None, and an answer sent, when there is none of that name or revision."""
        folder = self.state.root / kind / user / name
        if not folder.is_dir():
            self.not_found(code="RepoNotFound", message="Repository not found")
            return None
        repository = Repository(folder, self.state.lfs_from)
        if not repository.has_revision(unquote(revision)):
            self.not_found(code="RevisionNotFound", message="Invalid rev id: " + revision)
            return None
        return repository

    def api(self, parts, query):
        """/api/KIND/USER/NAME[/revision/REV | /tree/REV/PATH]"""
        if not self.allowed():
            return None
        parts = parts + ["revision", "main"] if len(parts) == 4 else parts
        if len(parts) < 6:
            return self.not_found()
        kind, user, name, verb, revision = parts[1:6]
        repository = self.repository(kind, user, name, revision)
        if repository is None:
            return None
        if verb == "revision":
            siblings = [{"rfilename": path} for path in repository.paths()]
            return self.send_json({"id": f"{user}/{name}", "sha": repository.commit(), "siblings": siblings,
                                   "private": False, "gated": False, "disabled": False, "tags": [],
                                   "downloads": 0})
        if verb != "tree":
            return self.not_found()
        if self.state.listing:
            return self.send_bytes(self.state.listing.encode(), {"Content-Type": "application/json"})
        entries = repository.tree(
            unquote("/".join(parts[6:])), query.get("recursive", "").lower() in ("true", "1"))
        if entries is None:
            return self.not_found()
        begin = int(query.get("cursor", 0))
        page = entries[begin:begin + self.state.page_size]
        headers = {}
        if self.state.endless:
            page = [] if self.state.endless == "empty" else entries[:1]
        if begin + len(page) < len(entries) or self.state.endless:
            rest = "&".join(f"{key}={quote(value)}" for key, value in query.items() if key != "cursor")
            host = self.state.next_host or f"localhost:{self.server.server_port}"
            url = f"http://{host}{urlsplit(self.path).path}?{rest}&cursor={begin + max(1, len(page))}"
            headers["Link"] = f'<{url}>; rel="next"'
        return self.send_json(page, headers)

    def resolve(self, parts, _):
        """/datasets/USER/NAME/resolve/REV/PATH or /USER/NAME/resolve/REV/PATH (a model)"""
        if not self.allowed():
            return None
        parts = parts if parts[3] == "resolve" else ["models"] + parts
        kind, user, name, _, revision = parts[:5]
        repository = self.repository(kind, user, name, revision)
        if repository is None:
            return None
        path = unquote("/".join(parts[5:]))
        if not (repository.folder / path).is_file():
            return self.not_found()
        entry = repository.entry(path)
        headers = {"X-Repo-Commit": repository.commit(), "Accept-Ranges": "bytes"}
        if "lfs" not in entry:
            headers["ETag"] = '"%s"' % entry["oid"]
            headers["Location"] = (
                f"/api/resolve-cache/{kind}/{user}/{name}/{repository.commit()}/{quote(path, safe='')}")
            return self.send_empty(307, headers)
        oid = entry["lfs"]["oid"]
        signature = self.state.sign(oid, repository.folder / path)
        headers |= {"X-Linked-Size": str(entry["size"]), "X-Linked-ETag": f'"{oid}"',
                    "Location": f"http://127.0.0.1:{self.server.server_port}/cdn/{oid}"
                                f"?Expires={int(time.time()) + 3600}&Signature={signature}"}
        return self.send_empty(302, headers)

    def small_file(self, parts, _):
        if not self.allowed():
            return None
        kind, user, name, commit = parts[2:6]
        repository = self.repository(kind, user, name, commit)
        if repository is None:
            return None
        path = unquote("/".join(parts[6:]))
        return self.send_file(repository.folder / path, '"%s"' % repository.entry(path)["oid"],
                              headers={"X-Repo-Commit": commit})

    def cdn(self, parts, query):
        if not self.state.use(query.get("Signature", "")):
            return self.send_empty(403, {})
        if "Range" not in self.headers and not self.state.any_range:
            return self.send_empty(400, {})
        return self.send_file(self.state.blobs[parts[1]], '"%s"' % parts[1][:32])

    def plain_file(self, parts, query):
        """/files/PATH; in the query: nohead, norange, noetag"""
        file = self.state.root / "files" / unquote("/".join(parts[1:]))
        if self.command == "HEAD" and "nohead" in query:
            return self.send_empty(405, {})
        if not file.is_file():
            return self.not_found()
        status = file.stat()
        return self.send_file(file, f'"{status.st_size:x}-{status.st_mtime_ns:x}"', query)

    def redirect(self, _, query):
        self.send_empty(int(query.get("status", 302)), {"Location": query["to"]})

    def echo(self, *_):
        self.send_json({name.lower(): value for name, value in self.headers.items()})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        # the other side left, or we cut the connection
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(*_)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--token", default="")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--expires-after", type=int, default=1 << 30)
    parser.add_argument("--any-range", action="store_true", help="signed URLs also serve whole files")
    parser.add_argument("--lfs-from", type=int, default=1024, help="size from which a file is in LFS")
    Handler.state = State(parser.parse_args())
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
