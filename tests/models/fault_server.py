"""A loopback chat endpoint that misbehaves by script, and keeps its own log and bill."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What to do with one request. `cut` sends only so many bytes of the body; `reset` closes without a word.

    `drip_s` waits between single bytes of the body; `billed_usd` goes on the bill when the request has been read.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    cut: int | None = None
    reset: bool = False
    billed_usd: float = 0.0


def to_probe(seen: Seen) -> Fault | None:
    """Return what an endpoint that offers everything says to the two calls of a probe; None for any other request."""
    said = seen.body["messages"][-1]["content"]
    if "Is ice frozen water?" in said:
        return Fault(body=answer('{"label": "yes"}' if "response_format" in seen.body else "yes"))
    return Fault(body=answer("yes")) if said == "Write the word yes and nothing else." else None


def answer(text: Any = "spam", finish: str | None = "stop", model: str = "small", **more: Any) -> dict[str, Any]:
    """Return a chat completion; `usage=None` leaves it out, `message` and `logprobs` are taken as they are."""
    message = more.get("message", {"role": "assistant", "content": text})
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": more.get("logprobs")}
    usage = more.get("usage", {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12})
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    return {name: value for name, value in body.items() if name != "usage" or value is not None}


def refusal(message: str) -> dict[str, Any]:
    """Return an error body as OpenAI writes it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived: its number from 0, path, headers in lower case, JSON body, time in seconds."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at_s: float


class FaultServer:
    """Serves on a port of 127.0.0.1 (0: a free one) until closed; `script` maps a request to what is done with it."""

    def __init__(self, script: Callable[[Seen], Fault], port: int = 0) -> None:
        self.script = script
        self.log: list[Seen] = []
        self.bill_usd = 0.0
        self.most_at_once = self._at_once = 0
        self.closing = threading.Event()
        self._guard = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                while outer.serve_one(self):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, request_queue_size = True, True, 64

            def handle_error(self, *_: Any) -> None:
                """Clients that hang up are part of the play."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def serve_one(self, handler: Any) -> bool:
        """Read a request and do what the script says; return whether the connection stays open."""
        seen = self._read(handler.rfile)
        if seen is None:
            return False
        fault = self.script(seen)
        with self._guard:
            self.bill_usd += fault.billed_usd
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._write(handler, fault)
        finally:
            with self._guard:
                self._at_once -= 1

    def _read(self, file: Any) -> Seen | None:
        first = file.readline().decode("latin-1").split()
        if len(first) < 3:
            return None
        headers = {}
        while (line := file.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(file.read(int(headers.get("content-length", "0"))) or b"{}")
        with self._guard:
            seen = Seen(len(self.log), first[1], headers, body, time.monotonic())
            self.log.append(seen)
        return seen

    def _write(self, handler: Any, fault: Fault) -> bool:
        if fault.delay_s and self.closing.wait(fault.delay_s):
            return False
        if fault.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.connection.close()
            return False
        body = answer() if fault.body is None and fault.status == 200 else fault.body
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **fault.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        handler.wfile.write(f"HTTP/1.1 {fault.status} Said\r\n{head}\r\n".encode("latin-1"))
        for i in range(len(data) if fault.drip_s else 0):
            handler.wfile.write(data[i : i + 1])
            if self.closing.wait(fault.drip_s):
                return False
        if not fault.drip_s:
            handler.wfile.write(data[: fault.cut])
        return fault.cut is None
