"""Other documents than the run's: what changed is indexed anew and kept beside the run, whose evidence stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from whichway.core.strategy import Solution, Updatable
from whichway.core.task import Document
from whichway.errors import UsageError
from whichway.intake.documents import read_documents
from whichway.live.bundle import embedder_name
from whichway.study.lines import folder_name

HOME, ABOUT = "documents", "kept.json"  # in the run's folder: an index per strategy, and what it was made of


def over_documents(
    solution: Solution, name: str, folder: Path, documents: Path, tell: Callable[[str], None]
) -> Solution:
    """Return a run's solution over a folder or file of documents, as if it had been built of them.

    The index is kept in `folder/documents/NAME`, so that the next time only texts that are new are embedded; nothing else in the
    run's folder changes. `tell` is told what was added, changed and dropped since the last time (at first: since the run).
    Raises UsageError where the solution looks nothing up.
    """
    if not isinstance(solution, Updatable):
        raise UsageError(f"{name} looks nothing up, so it has no use for documents.", "Leave --documents out.")
    found, home = read_documents(documents)[0], Path(folder) / HOME / folder_name(name)
    by, before = embedder_name(folder), _kept(home, embedder_name(folder))
    moved = solution.with_documents(found, home if before is not None else None)
    now = _digests(found)
    said = _changes(_digests(solution.documents) if before is None else before, now)
    if before != now:
        said += f"; indexed in {home}" if _keep(moved, home, {"embedder": by, "documents": now}) else "; not kept"
    tell(f"{name}: {len(found)} documents, {said}")
    return moved


def _kept(home: Path, embedder: str) -> Mapping[str, str] | None:
    """Return digests by id of the documents in an index that was kept; None where there is none of this encoder's."""
    try:
        about = json.loads((home / ABOUT).read_text(encoding="utf-8"))
        return dict(about["documents"]) if about["embedder"] == embedder else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keep(solution: Solution, home: Path, about: Mapping[str, object]) -> bool:
    """Write an index whole, in place of the one before; False where the folder cannot be written."""
    assert isinstance(solution, Updatable)
    scratch = home.with_name(f"{home.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        solution.keep(scratch)
        (scratch / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)
        scratch.rename(home)
    except OSError:  # a run that is only to be read answers all the same
        shutil.rmtree(scratch, ignore_errors=True)
        return False
    return True


def _digests(documents: Sequence[Document]) -> dict[str, str]:
    said = {one.id: f"{one.title}\x00{one.text}" for one in documents}
    return {id_: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for id_, text in said.items()}


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    added, dropped = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    changed = sum(before[id_] != now[id_] for id_ in now.keys() & before.keys())
    return f"{added} added, {changed} changed, {dropped} dropped" if added or changed or dropped else "none changed"
