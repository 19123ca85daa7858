#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The part of the Weights & Biases service that uploading a run needs, on the loopback, with faults on
demand: /graphql and file_stream. It keeps the lines of each file by their offsets and notes what a client
must not do (a gap, another line where there is one already, no authorization). Standard library only. Ends
when its standard input does.

usage: wandb_server.py [--port N]       prints one line: the port

GET /_control            what arrived, as JSON: runs, counts, faults, violations, transcript
GET /_control?{"script": ["500", ""], "outage": false, "scope": "file_stream"}   (percent-encoded JSON) sets
faults;
                         script: one entry for each request in scope, "" for none: a status; "lost" takes the
                         request and closes without an answer; "close" closes before taking it. outage: all
                         are closed untaken. scope: "" all, graphql, file_stream. stopped: what file_stream
                         answers.
"""
import argparse
import json
import re
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

STREAMED = ("wandb-history.jsonl", "wandb-events.jsonl", "output.log")


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.runs, self.transcript, self.violations = {}, [], []
        self.counts, self.faults = Counter(), Counter()
        self.script, self.scope, self.outage, self.stopped = [], "", False, False

    def configure(self, plan):
        with self.lock:
            for key in ("script", "scope", "outage", "stopped"):
                setattr(self, key, plan.get(key, getattr(self, key)))

    def fault(self, kind):
        with self.lock:
            self.counts[kind] += 1
            if self.outage:
                self.faults["outage"] += 1
                return "close"
            fault = self.script.pop(0) if self.script and kind.startswith(self.scope) else ""
            if fault:
                self.faults[fault] += 1
            return fault

    def report(self):
        with self.lock:
            return {"runs": self.runs, "counts": self.counts, "faults": self.faults,
                    "violations": self.violations, "transcript": self.transcript}

    def run(self, name):
        return self.runs.setdefault(
            name, {"files": {}, "description": {}, "alerts": [], "exitcode": None, "complete": False})

    def store(self, name, body):
        run = self.run(name)
        for file, chunk in (body.get("files") or {}).items():
            lines = run["files"].setdefault(file, [])
            offset, content = chunk["offset"], chunk["content"]
            if file not in STREAMED:
                run["files"][file] = content
                continue
            if offset > len(lines):
                self.violations.append(f"{file}: line {offset} after {len(lines)} lines")
            for i, line in enumerate(content):
                if offset + i < len(lines):
                    if lines[offset + i] != line:
                        self.violations.append(f"{file}: another line {offset + i}")
                else:
                    lines.append(line)
        if body.get("complete"):
            run["complete"], run["exitcode"] = True, body.get("exitcode")


def graphql(state, body):
    query, variables = body["query"], body.get("variables") or {}
    operation = (re.search(r"(?:query|mutation)\s+(\w+)", query) or [None, ""])[1]
    name = variables.get("name")
    entity, project = variables.get("entity") or "someone", variables.get("project") or "uncategorized"
    if operation == "UpsertBucket":
        inserted = name not in state.runs
        run = state.run(name)
        run["description"].update({key: value for key, value in variables.items() if value is not None})
        bucket = {"id": "id-" + str(name), "name": name, "displayName": variables.get("displayName") or name,
                  "sweepName": None, "historyLineCount": len(run["files"].get("wandb-history.jsonl", [])),
                  "project": {"id": "p", "name": project, "entity": {"id": "e", "name": entity}}}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
    if operation == "RunResumeStatus":
        bucket = None
        if name in state.runs:
            files = state.runs[name]["files"]
            count = {file: len(files.get(file, [])) for file in STREAMED}
            bucket = {"id": "id-" + name, "name": name, "displayName": name, "summaryMetrics": "{}",
                      "config": "{}", "historyTail": "[]", "eventsTail": "[]", "tags": [],
                      "wandbConfig": '{"t": {"12": "x"}}', "historyLineCount": count["wandb-history.jsonl"],
                      "eventsLineCount": count["wandb-events.jsonl"], "logLineCount": count["output.log"]}
        return {
            "model": {"id": "m", "name": project, "entity": {"id": "e", "name": entity}, "bucket": bucket}}
    if operation == "NotifyScriptableRunAlert":
        state.run(variables["runName"])["alerts"].append([variables["title"], variables["text"]])
        return {"notifyScriptableRunAlert": {"success": True}}
    if operation == "CreateRunFiles":
        files = [{"name": file, "uploadUrl": "/storage/" + file} for file in variables.get("files", [])]
        return {"createRunFiles": {"runID": "id", "uploadHeaders": [], "files": files}}
    if operation == "Viewer" or "viewer" in query:
        return {"viewer": {
            "id": "v", "entity": entity, "username": entity, "flags": "{}", "teams": {"edges": []}}}
    if operation == "ServerInfo" or "serverInfo" in query:
        return {"serverInfo": {
            "cliVersionInfo": {"max_cli_version": "9.9.9"}, "latestLocalVersionInfo": None, "features": []}}
    return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/_control":
            return self.answer(404, {})
        if url.query:
            self.state.configure(json.loads(unquote(url.query)))
        self.answer(200, self.state.report())

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, {})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path != "/graphql" and not path.endswith("/file_stream"):
            return self.answer(404, {})
        body = json.loads(raw)
        kind = "graphql" if path == "/graphql" else "file_stream"
        fault = self.state.fault(kind)
        if fault == "close":
            self.close_connection = True
            return None
        if fault.isdigit():
            return self.answer(
                int(fault), {"error": "injected"}, [("Retry-After", "3")] if fault == "429" else [])
        with self.state.lock:
            if not self.headers.get("Authorization", "").startswith("Basic "):
                self.state.violations.append(path + ": no authorization")
            if kind == "graphql":
                reply = {"data": graphql(self.state, body)}
                self.state.transcript.append({"graphql": re.sub(r"\s+", " ", body["query"])[:60]})
            else:
                name = unquote(path.split("/")[-2])
                self.state.store(name, body)
                sizes = {f: [c["offset"], len(c["content"])] for f, c in (body.get("files") or {}).items()}
                self.state.transcript.append({"file_stream": sizes, "complete": bool(body.get("complete"))})
                reply = {"stopped": self.state.stopped, "exitcode": None, "limits": {}}
        if fault == "lost":
            self.close_connection = True
            return None
        return self.answer(200, reply)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    Handler.state = State()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
