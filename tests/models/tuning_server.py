"""A provider of fine-tuning by OpenAI's files and jobs, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = 400  # that it says it has trained on


class Provider:
    """A provider of files and jobs on a free port, with a script: how a job goes, and what breaks on the way.

    `says` maps the messages of a chat to its answer and what it used; `counts` a training file to its tokens. `trained` is
    what a look at a cancelled job says that is billed; the answer to cancelling it does not say that.
    """

    def __init__(
        self,
        looks: int = 2,
        status: str = "succeeded",
        breaks: tuple[str, ...] = (),
        says: Callable[[list[dict[str, str]]], dict[str, Any]] | None = None,
        counts: Callable[[bytes], float] | None = None,
        trained: int | None = None,
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.jobs: list[dict[str, Any]] = []
        self.looks, self.status, self.breaks = looks, status, list(breaks)
        self.asked: list[str] = []
        self.says, self.counts, self.trained = says, counts, trained
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self, "GET")

            def do_POST(self) -> None:
                provider.answer(self, "POST")

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, to: Any, method: str) -> None:
        body = to.rfile.read(int(to.headers.get("content-length") or 0))
        path = to.path.split("?")[0].removeprefix("/v1")
        self.asked.append(f"{method} {path}")
        what = "files" if path == "/files" else path.rsplit("/", 1)[-1] if method == "POST" else "look"
        if what in self.breaks or f"refuse {what}" in self.breaks:
            return self._break(to, what, body)
        if path == "/chat/completions" and self.says:
            return self._say(to, 200, self.says(json.loads(body)["messages"]))
        if path == "/files":
            name = f"file-{len(self.files)}"
            self.files[name] = body
            return self._say(to, 200, {"id": name, "object": "file", "bytes": len(body), "status": "processed"})
        if path == "/fine_tuning/jobs":
            if method == "GET":
                return self._say(to, 200, {"object": "list", "data": self.jobs, "has_more": False})
            return self._say(to, 200, self._create(json.loads(body)))
        job = next((one for one in self.jobs if one["id"] in path), None)
        if path.endswith("/events"):
            return self._say(to, 200, {"object": "list", "data": [], "has_more": False})
        if path.endswith("/cancel"):
            job["status"] = "cancelled"
        else:
            self._go_on(job)
        self._say(to, 200, job)

    def _go_on(self, job: dict[str, Any]) -> None:
        if job["status"] == "cancelled":
            job["trained_tokens"] = self.trained
        elif job["status"] == "running":
            self.looks -= 1
            if self.looks <= 0:
                number = 1 + sum(one["status"] == "succeeded" for one in self.jobs)
                done = self.status == "succeeded"
                job |= {"status": self.status, "trained_tokens": self._tokens(job) if done else 0}
                job |= (
                    {"fine_tuned_model": f"ft:small:{number}"}
                    if done
                    else {"error": {"code": "x", "message": "bad rows"}}
                )

    def _tokens(self, job: dict[str, Any]) -> int:
        if self.counts is None:
            return TOKENS
        epochs = job["method"]["supervised"]["hyperparameters"]["n_epochs"]
        return int(epochs * self.counts(self.files[job["training_file"]]))

    def _break(self, to: Any, what: str, body: bytes) -> None:
        if what not in self.breaks:
            self.breaks.remove(f"refuse {what}")
            return self._say(to, 400, {"error": {"message": "you have too many jobs"}})
        self.breaks.remove(what)
        if what != "jobs":
            return self._say(to, 503, {"error": {"message": "busy"}})
        self._create(json.loads(body))  # the job is made, but nobody hears of it
        to.close_connection = True

    def _create(self, said: dict[str, Any]) -> dict[str, Any]:
        job = {"id": f"job-{len(self.jobs)}", "object": "fine_tuning.job", "status": "running", **said}
        job |= {"created_at": 1, "fine_tuned_model": None, "error": None, "trained_tokens": None, "hyperparameters": {}}
        self.jobs.append(job)
        return job

    @staticmethod
    def _say(to: Any, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        to.send_response(status)
        to.send_header("content-type", "application/json")
        to.send_header("content-length", str(len(text)))
        to.end_headers()
        to.wfile.write(text)
