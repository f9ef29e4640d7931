"""Many chat requests as one file, answered one block after the other: what a killed server had answered is not asked again."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whichway.live.serving.files import Files, read_json, write_json
from whichway.live.serving.refusal import Refusal

URL = "/v1/chat/completions"
PURPOSE = "batch"
BLOCK = 64  # requests that are answered and written down together
MOST = 50_000
GOING = ("validating", "in_progress", "finalizing", "cancelling")
LOOK_S = 0.1
Answer = Callable[[Sequence[Mapping[str, Any]]], list[tuple[int, dict[str, Any]]]]


class Batches:
    """All batches of one server, in `folder`; `answer` maps bodies of chat requests to status and body of each."""

    def __init__(self, folder: Path, files: Files, answer: Answer) -> None:
        self.folder, self.files, self.answer = Path(folder), files, answer
        self.folder.mkdir(parents=True, exist_ok=True)
        files.checks[PURPOSE] = read_lines
        files.uses.append(self._use_of)
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def create(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a batch; raises Refusal for a file or an address that is none."""
        if said.get("endpoint") != URL:
            raise Refusal(400, f"Batches are answered by {URL!r} alone, not by {said.get('endpoint')!r}.")
        file = self.files.about(str(said.get("input_file_id")))
        if file["purpose"] != PURPOSE:
            raise Refusal(400, f"The purpose of {file['id']} is {file['purpose']!r}; it must be {PURPOSE!r}.")
        total, now = len(read_lines(self.files.content(file["id"]))), int(time.time())
        batch = {
            "id": f"batch_{secrets.token_hex(12)}",
            "object": "batch",
            "endpoint": URL,
            "errors": None,
            "input_file_id": file["id"],
            "completion_window": str(said.get("completion_window") or "24h"),
            "status": "in_progress",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "created_ns": time.time_ns(),  # two of one second are taken in their order
            "in_progress_at": now,
            "request_counts": {"total": total, "completed": 0, "failed": 0},
            "metadata": said.get("metadata"),
        }
        write_json(self._path(batch["id"]), batch)
        return batch

    def all(self) -> list[dict[str, Any]]:
        """Return all batches, the newest first."""
        return sorted((read_json(path) for path in self.folder.glob("*.json")), key=lambda one: -one["created_ns"])

    def batch(self, id_: str) -> dict[str, Any]:
        """Return a batch; raises Refusal (404)."""
        path = self._path(id_)
        if not id_.replace("_", "").isalnum() or not path.exists():
            raise Refusal(404, f"There is no batch {id_!r}.", "not_found_error")
        return read_json(path)

    def cancel(self, id_: str) -> dict[str, Any]:
        """End a batch after the block under way; raises Refusal where it has ended."""
        with self._lock:
            batch = self.batch(id_)
            if batch["status"] not in GOING:
                raise Refusal(400, f"The batch {id_} is {batch['status']}.")
            return self._set(id_, status="cancelling", cancelling_at=int(time.time()))

    def close(self) -> None:
        """Stop after the block under way; what is left goes on when the server is started again."""
        self._ended.set()
        self._thread.join()

    def _use_of(self, id_: str) -> str:
        going = any(one["input_file_id"] == id_ for one in self.all() if one["status"] in GOING)
        return f"A batch that has not ended answers {id_}." if going else ""

    def _path(self, id_: str) -> Path:
        return self.folder / f"{id_}.json"

    def _set(self, id_: str, **changes: Any) -> dict[str, Any]:
        with self._lock:
            found = {**read_json(self._path(id_)), **changes}
            write_json(self._path(id_), found)
            return found

    def _work(self) -> None:
        while not self._ended.wait(LOOK_S):
            for one in reversed(self.all()):
                if one["status"] in GOING and not self._ended.is_set():
                    try:
                        self._answered(one)
                    except Exception as error:  # what ends one batch must not end the server's others
                        said = {"code": "server_error", "message": f"{type(error).__name__}: {error}", "line": None}
                        errors = {"object": "list", "data": [{**said, "param": None}]}
                        self._set(one["id"], status="failed", failed_at=int(time.time()), errors=errors)

    def _answered(self, batch: Mapping[str, Any]) -> None:
        """Answer a batch from where it was left."""
        id_, lines = batch["id"], read_lines(self.files.content(batch["input_file_id"]))
        kept = self.folder / f"{id_}.jsonl"
        done = _whole_lines(kept)
        for start in range(len(done), len(lines), BLOCK):
            if self._ended.is_set():
                return
            if self.batch(id_)["status"] == "cancelling":
                break
            block = lines[start : start + BLOCK]
            found = [
                _line(one, *said) for one, said in zip(block, self.answer([b["body"] for b in block]), strict=True)
            ]
            with kept.open("a", encoding="utf-8") as file:
                file.write("".join(found))
            done += found
            self._set(id_, request_counts=_counts(len(lines), done))
        self._end(id_, len(lines), done)
        kept.unlink(missing_ok=True)

    def _end(self, id_: str, total: int, done: Sequence[str]) -> None:
        """Make files of what was answered and of what was refused."""
        status = "cancelled" if self.batch(id_)["status"] == "cancelling" else "completed"
        ends: dict[str, Any] = {"status": status, f"{status}_at": int(time.time())}
        for name, wanted in (("output_file_id", True), ("error_file_id", False)):
            lines = [one for one in done if _is_good(one) == wanted]
            if lines:
                content = "".join(lines).encode("utf-8", "replace")
                ends[name] = self.files.keep(f"{id_}_{name[:-8]}.jsonl", "batch_output", content)["id"]
        self._set(id_, request_counts=_counts(total, done), **ends)


def read_lines(content: bytes) -> list[dict[str, Any]]:
    """Return the requests of a file; raises Refusal naming the line that is none."""
    found: list[dict[str, Any]] = []
    keys: set[str] = set()
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            key, body = said["custom_id"], said["body"]
            good = (
                isinstance(key, str) and isinstance(body, dict) and said.get("url") == URL and said["method"] == "POST"
            )
        except (ValueError, LookupError, TypeError, RecursionError):
            good = False
        if not good:
            form = f'{{"custom_id", "method": "POST", "url": "{URL}", "body": {{...}}}}'
            raise Refusal(400, f"Line {number} is no {form}.")
        if key in keys:
            raise Refusal(400, f"Line {number}: the custom_id {key!r} was there before.")
        keys.add(key)
        found.append(said)
    if not 0 < len(found) <= MOST:
        raise Refusal(400, f"{len(found)} requests; a batch holds 1 to {MOST}.")
    return found


def _line(asked: Mapping[str, Any], status: int, body: Mapping[str, Any]) -> str:
    response = {"status_code": status, "request_id": f"req_{secrets.token_hex(8)}", "body": body}
    said = {
        "id": f"batch_req_{secrets.token_hex(8)}",
        "custom_id": asked["custom_id"],
        "response": response,
        "error": None,
    }
    return json.dumps(said, ensure_ascii=False) + "\n"


def _whole_lines(path: Path) -> list[str]:
    """Return the lines that were written to their end."""
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole, encoding="utf-8")
    return whole.splitlines(keepends=True)


def _is_good(line: str) -> bool:
    return bool(json.loads(line)["response"]["status_code"] == 200)


def _counts(total: int, done: Sequence[str]) -> dict[str, int]:
    good = sum(map(_is_good, done))
    return {"total": total, "completed": good, "failed": len(done) - good}
