"""Fine-tuning jobs on disk: one job at a time in a process of its own, so that it can be ended and taken up again."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichway.live.serving.files import Files, read_json, write_json
from whichway.live.serving.refusal import Refusal, object_in, whole_in
from whichway.registry import get

LEAST_ROWS = 10
LONGEST_SUFFIX = 40
ENDED = ("succeeded", "failed", "cancelled")
GOING = ("validating_files", "queued", "running")
LOOK_S = 0.2
PATIENT_S = 10.0  # given to a job that is asked to stop


class Tuning:
    """All jobs of one server, in `folder`; what was under way when it ended is taken up from its last checkpoint."""

    def __init__(self, folder: Path, files: Files, causal: str = "embedded") -> None:
        self.folder, self.causal = Path(folder), causal
        self.base = "smollm2-135m-instruct" if causal == "embedded" else Path(causal).name.lower()
        (self.folder / "jobs").mkdir(parents=True, exist_ok=True)
        self.files = files
        files.checks["fine-tune"] = read_rows
        files.uses.append(self._use_of)
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._child: tuple[str, subprocess.Popen[bytes]] | None = None
        for job in self.jobs():
            if job["status"] in GOING:
                self._set(job["id"], status="queued")
        self._thread = threading.Thread(target=self._work, name="tuning", daemon=True)
        self._thread.start()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def create(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Queue a job; raises Refusal for a model, file or setting that is none."""
        if said.get("model") != self.base:
            raise Refusal(400, f"{said.get('model')!r} cannot be fine-tuned here; the base model is {self.base!r}.")
        files = {part: said.get(part) for part in ("training_file", "validation_file")}
        for part, id_ in files.items():
            if id_ is None and part == "validation_file":
                continue
            count, least = len(read_rows(self.files.content(str(id_)))), LEAST_ROWS if part == "training_file" else 1
            if count < least:
                raise Refusal(400, f"The {part} {id_} has {count} rows; a job needs {least}.")
        id_, suffix = f"ftjob-{secrets.token_hex(12)}", str(said.get("suffix") or "whichway")[:LONGEST_SUFFIX]
        job: dict[str, Any] = {
            "id": id_,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "created_ns": time.time_ns(),  # two of one second are taken in their order
            "model": self.base,
            "status": "queued",
            **files,
            "hyperparameters": _settings(said),
            "method": {"type": "supervised", "supervised": {"hyperparameters": _settings(said)}},
            "seed": whole_in(said, "seed", 0, 0, 2**31 - 1),
            "suffix": "".join(c for c in suffix if c.isalnum() or c in "-_") or "whichway",
            "metadata": said.get("metadata"),
            "fine_tuned_model": None,
            "finished_at": None,
            "trained_tokens": None,
            "error": None,
            "organization_id": "local",
            "result_files": [],
            "integrations": [],
        }
        write_json(self.folder / "jobs" / id_ / "job.json", job)
        add_event(self.folder / "jobs" / id_, "Created and queued.")
        return job

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs, the newest first."""
        found = [read_json(path) for path in (self.folder / "jobs").glob("*/job.json")]
        return sorted(found, key=lambda one: -one["created_ns"])

    def job(self, id_: str) -> dict[str, Any]:
        """Return a job; raises Refusal (404)."""
        return read_json(self._job(id_) / "job.json")

    def change(self, id_: str, to: str) -> dict[str, Any]:
        """Cancel ('cancelled'), pause ('paused') or resume ('queued') a job; raises Refusal where that is too late."""
        with self._lock:
            if self._child and self._child[0] == id_:
                self._end_child()  # first: from now on it writes nothing
            job = self.job(id_)
            allowed = ("paused",) if to == "queued" else (*GOING, "paused")
            if job["status"] not in allowed:
                raise Refusal(400, f"The job {id_} is {job['status']}, so it cannot become {to}.")
            ends = {"finished_at": int(time.time())} if to == "cancelled" else {}
            self._set(id_, status=to, **ends)
            add_event(self._job(id_), {"queued": "Resumed.", "paused": "Paused.", "cancelled": "Cancelled."}[to])
            return self.job(id_)

    def events(self, id_: str) -> list[dict[str, Any]]:
        """Return what happened to a job, the newest first."""
        path = self._job(id_) / "events.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(one) for one in reversed(lines)]

    def checkpoints(self, id_: str) -> list[dict[str, Any]]:
        """Return the epoch that was kept, as a checkpoint; none before a job has ended well."""
        path = self._job(id_) / "checkpoint.json"
        return [read_json(path)] if path.exists() else []

    def _use_of(self, id_: str) -> str:
        """Say which use there is for a file, or nothing."""
        going = (one for one in self.jobs() if one["status"] in GOING)
        learns = any(id_ in (one["training_file"], one["validation_file"]) for one in going)
        return f"A job that has not ended learns from {id_}." if learns else ""

    def _job(self, id_: str) -> Path:
        path = self.folder / "jobs" / id_
        if not id_.replace("-", "").isalnum() or not (path / "job.json").exists():
            raise Refusal(404, f"There is no fine-tuning job {id_!r}.", "not_found_error")
        return path

    # -- models ------------------------------------------------------------------------------------------------------

    def base_names(self) -> list[str]:
        """Return the model that can be fine-tuned."""
        return [self.base]

    def tuned(self) -> list[str]:
        """Return the names of fine-tuned models."""
        return [one["fine_tuned_model"] for one in self.jobs() if one["status"] == "succeeded"]

    def load(self, name: str) -> Any:
        """Return a model by its name."""
        base = get("model", "causal")(self.causal)
        if name == self.base:
            return base
        id_ = next(one["id"] for one in self.jobs() if one["fine_tuned_model"] == name)
        return base.adapted(self._job(id_) / "weights")

    # -- the work ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the job under way; it goes on when the server is started again."""
        self._ended.set()
        self._thread.join()
        with self._lock:
            if self._child:
                id_ = self._child[0]
                self._end_child()
                if self.job(id_)["status"] == "running":  # it may have ended at the last moment
                    self._set(id_, status="queued")

    def _end_child(self) -> None:
        assert self._child is not None
        _stop(self._child[1])
        self._child = None

    def _work(self) -> None:
        while not self._ended.wait(LOOK_S):
            with self._lock:
                if self._child is not None:
                    self._look(*self._child)
                else:
                    queued = [one["id"] for one in reversed(self.jobs()) if one["status"] == "queued"]
                    if queued:
                        self._start(queued[0])

    def _start(self, id_: str) -> None:
        folder = self._job(id_)
        self._set(id_, status="running")
        command = [
            sys.executable,
            "-m",
            "whichway.live.serving.job",
            str(folder),
            str(self.files.folder),
            self.causal,
        ]
        with (folder / "log.txt").open("ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)  # noqa: S603
        self._child = (id_, child)

    def _look(self, id_: str, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            return
        self._child = None
        if self.job(id_)["status"] == "running":  # it ended without saying how
            lines = (self._job(id_) / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"exit status {child.returncode}"
            error = {"code": "training_failed", "message": said, "param": None}
            self._set(id_, status="failed", error=error, finished_at=int(time.time()))
            add_event(self._job(id_), f"Failed: {said}", "error")

    def _set(self, id_: str, **changes: Any) -> None:
        with self._lock:
            path = self.folder / "jobs" / id_ / "job.json"
            write_json(path, {**read_json(path), **changes})


def read_rows(content: bytes) -> list[list[tuple[str, str]]]:
    """Return the chats of a file, each ending in what the assistant should say; raises Refusal naming the line."""
    rows = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            chat = [(str(one["role"]), one["content"]) for one in messages]
        except (ValueError, LookupError, TypeError) as error:
            raise Refusal(400, f'Line {number} is no {{"messages": [{{"role", "content"}}, ...]}}.') from error
        if len(chat) < 2 or chat[-1][0] != "assistant" or not all(isinstance(text, str) and text for _, text in chat):
            raise Refusal(400, f"Line {number} does not end in a text of the assistant after another message.")
        rows.append(chat)
    if not rows:
        raise Refusal(400, "The file has no rows.")
    return rows


def add_event(folder: Path, message: str, level: str = "info", data: Mapping[str, Any] | None = None) -> None:
    """Write down what happened to a job."""
    event = {"id": f"ftevent-{secrets.token_hex(8)}", "object": "fine_tuning.job.event", "created_at": int(time.time())}
    event |= {"level": level, "message": message, "type": "metrics" if data else "message", "data": dict(data or {})}
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event, ensure_ascii=False) + "\n")


def _settings(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return epochs, batch size and the multiplier of the learning rate, wherever a client has put them."""
    method = object_in(said, "method")
    kind = method.get("type", "supervised")
    if kind != "supervised":
        raise Refusal(400, f"The method {kind!r} is not offered here; 'supervised' is.")
    inner = object_in(object_in(method, "supervised"), "hyperparameters") or object_in(said, "hyperparameters")
    found: dict[str, Any] = {}
    for name, usual, most in (("n_epochs", 3, 50), ("batch_size", 8, 256), ("learning_rate_multiplier", 1.0, 100)):
        value = inner.get(name, "auto")
        value = usual if value in ("auto", None) else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise Refusal(400, f"`{name}` must be above 0 and at most {most}.")
        found[name] = value if name == "learning_rate_multiplier" else int(value)
    return found


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(PATIENT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
