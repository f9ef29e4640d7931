"""A loopback provider of files, batches and chat that goes by a script, and keeps its own bill."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fault_server import answer, refusal

DISCOUNT = 0.5
PRICE_IN, PRICE_OUT = 1.0, 2.0


class BatchServer:
    """Answers batches after `looks` looks. `fate` of a line: 'answered', 'refused' or 'expired'; `status` is how batches end.

    `deaf_to` names a POST path whose first request is done, while its answer is never sent; `lacks` batches: 404; `refuses` names
    a POST path whose first request is answered with 400.
    """

    def __init__(
        self,
        looks: int = 2,
        status: str = "completed",
        fate: Callable[[str], str] = lambda _: "answered",
        deaf_to: str = "",
        lacks: bool = False,
        refuses: str = "",
        say: Callable[[dict[str, Any]], str] = lambda body: body["messages"][-1]["content"],
    ) -> None:
        self.looks, self.status, self.fate, self.say = looks, status, fate, say
        self.deaf_to, self.lacks, self.refuses = deaf_to, lacks, refuses
        self.files: dict[str, str] = {}
        self.batches: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.chats = 0
        self.bill_usd = 0.0
        self._guard = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.serve(self, "GET")

            def do_POST(self) -> None:
                outer.serve(self, "POST")

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> BatchServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self, to: Any, method: str) -> None:
        body = to.rfile.read(int(to.headers.get("content-length") or 0)).decode()
        path = to.path.split("?")[0].removeprefix("/v1")
        with self._guard:
            self.asked.append(f"{method} {path}")
            found = self._reply(path, method, body)
        if method == "POST" and self.deaf_to == path:
            self.deaf_to, to.close_connection = "", True
            return
        status, said = found
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        to.send_response(status)
        to.send_header("content-type", "application/json")
        to.send_header("content-length", str(len(data)))
        to.end_headers()
        to.wfile.write(data)

    def _reply(self, path: str, method: str, body: str) -> tuple[int, Any]:
        if path == "/chat/completions":
            self.chats += 1
            return 200, self._completion(json.loads(body), 1.0)
        if method == "POST" and self.refuses == path:
            self.refuses = ""
            return 400, refusal("you have too many batches")
        if self.lacks:
            return 404, refusal("no such path")
        if path == "/files":
            found = re.search(r'name="file".*?\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
            assert found and 'name="purpose"\r\n\r\nbatch' in body
            return 200, self._file(found[1])
        if path.endswith("/content"):
            return 200, self.files[path.split("/")[2]]
        if path == "/batches" and method == "GET":
            return 200, {"object": "list", "data": self.batches, "has_more": False}
        if path == "/batches":
            batch = {"id": f"batch_{len(self.batches)}", "object": "batch", "created_at": 1, **json.loads(body)}
            self.batches.append(batch | {"status": "in_progress"})
            return 200, self.batches[-1]
        batch = next(one for one in self.batches if one["id"] == path.split("/")[2])
        if batch["status"] == "in_progress":
            self.looks -= 1
            if self.looks <= 0:
                self._end(batch)
        return 200, batch

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.status
        if self.status == "failed":
            batch["errors"] = {"object": "list", "data": [{"message": "line 3 is no JSON", "line": 3}]}
            return
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            said = json.loads(line)
            assert said["method"] == "POST" and said["url"] == batch["endpoint"] == "/v1/chat/completions"
            fate, kept = self.fate(said["body"]["messages"][-1]["content"]), {"custom_id": said["custom_id"]}
            if fate == "answered":
                done = {"status_code": 200, "body": self._completion(said["body"], DISCOUNT)}
                good.append({**kept, "response": done, "error": None})
            elif fate == "refused":
                bad.append({**kept, "response": {"status_code": 400, "body": refusal("no")}, "error": None})
            else:
                bad.append({**kept, "response": None, "error": {"code": "batch_expired", "message": "too late"}})
        good.reverse()  # answers come in any order
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[name] = self._file("".join(json.dumps(one) + "\n" for one in lines))["id"]

    def _file(self, content: str) -> dict[str, Any]:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        about = {"object": "file", "bytes": len(content), "created_at": 1, "filename": name, "purpose": "batch"}
        return {"id": name, "status": "processed", **about}

    def _completion(self, body: dict[str, Any], share: float) -> dict[str, Any]:
        usage = {"prompt_tokens": 10 + len(body["messages"][-1]["content"]), "completion_tokens": 4}
        self.bill_usd += share * (usage["prompt_tokens"] * PRICE_IN + usage["completion_tokens"] * PRICE_OUT) / 1e6
        return answer(self.say(body), usage=usage)
