"""Files that clients upload and fetch, on disk: each is checked by what its purpose needs."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whichway.live.serving.refusal import Refusal


class Files:
    """All files of one server, in `folder`.

    `checks` are known purposes, each with what raises Refusal for content that is of no use; `uses` tell why a file may not be
    removed yet, or nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checks: dict[str, Callable[[bytes], Any]] = {}
        self.uses: list[Callable[[str], str]] = []

    def add(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keep an uploaded file; raises Refusal for one of no use here."""
        if purpose not in self.checks:
            known = " or ".join(repr(one) for one in self.checks)
            raise Refusal(400, f"Files for {purpose!r} have no use here; the purpose must be {known}.")
        self.checks[purpose](content)
        return self.keep(name, purpose, content)

    def keep(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keep a file of the server's own."""
        id_ = f"file-{secrets.token_hex(12)}"
        about = {"id": id_, "object": "file", "bytes": len(content), "created_at": int(time.time())}
        about |= {"filename": Path(name).name or "rows.jsonl", "purpose": purpose, "status": "processed"}
        (self.folder / f"{id_}.jsonl").write_bytes(content)
        write_json(self.folder / f"{id_}.json", about)
        return about

    def all(self) -> list[dict[str, Any]]:
        """Return all files, the newest first."""
        found = [read_json(path) for path in self.folder.glob("*.json")]
        return sorted(found, key=lambda one: (-one["created_at"], one["id"]))

    def about(self, id_: str) -> dict[str, Any]:
        """Return what is known of a file; raises Refusal (404)."""
        return read_json(self._path(id_, ".json"))

    def content(self, id_: str) -> bytes:
        """Return a file's bytes; raises Refusal (404)."""
        return self._path(id_, ".jsonl").read_bytes()

    def delete(self, id_: str) -> None:
        """Remove a file; raises Refusal while there is a use for it."""
        paths = [self._path(id_, end) for end in (".json", ".jsonl")]
        for use in self.uses:
            if why := use(id_):
                raise Refusal(409, why)
        for path in paths:
            path.unlink()

    def _path(self, id_: str, end: str) -> Path:
        path = self.folder / f"{id_}{end}"
        if not id_.replace("-", "").isalnum() or not path.exists():
            raise Refusal(404, f"There is no file {id_!r}.", "not_found_error")
        return path


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.partial")
    scratch.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    scratch.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
