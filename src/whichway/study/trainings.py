"""Trainings of a study that have ended, by content: kept in its run folder, found there and in the runs beside it, copied."""

# What is kept shares its blocks on disk with the solution it is from, as hard links; what is taken is a copy, so that no two
# solutions share a file. Files are checked by their hashes whenever they are taken, so one that was changed is not found.

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whichway.core.strategy import ONWARD
from whichway.study.beside import AMISS, Beside, copied_files, receipt
from whichway.study.content import code_content

HOME, ABOUT = "trainings", "about.json"
TRAINING = "training"


class KeptTrainings:
    """The trainings of a run as one fit of a way may ask for them; `spared` tells what it has taken, at what it took there."""

    def __init__(self, run: Path, way: str, near: Beside, weights: Callable[[], str] = str) -> None:
        self.run, self.way, self.near, self.weights = run, way, near, weights
        self._booked: dict[str, dict[str, Any]] = {}

    @property
    def spared(self) -> list[dict[str, Any]]:
        """What was taken or booked, once each."""
        return list(self._booked.values())

    def take(self, content: str, places: Mapping[str, Path]) -> Mapping[str, Any] | None:
        """Copy a training's folders to these places, at what it took; see core/strategy.py."""
        began = time.perf_counter()
        said = self.look(content, places)
        if said is not None:
            own = {name: said[name] for name in ("way", "run", "tokens")}
            self.book(
                content, {**own, "kind": TRAINING, "seconds": max(0.0, said["seconds"] - (time.perf_counter() - began))}
            )
        return said

    def look(self, content: str, places: Mapping[str, Path]) -> Mapping[str, Any] | None:
        """Copy what was kept to these places."""
        for run in self._runs():
            said = _copied(run / HOME / _name(content), places)
            if said is not None:
                return {**said, "run": "" if run == self.run else run.name}
        return None

    def book(self, content: str, about: Mapping[str, Any]) -> None:
        """Count what was found in the cost of this way."""
        self._booked[content] = dict(about)

    def keep(self, content: str, places: Mapping[str, Path], said: Mapping[str, Any]) -> None:
        """Keep a training's folders; where the disk has no room for them, that costs nothing else."""
        entry = self.run / HOME / _name(content)
        scratch = entry.with_name(f"{entry.name}.partial")
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            for name, place in places.items():
                shutil.copytree(place, scratch / name, copy_function=_linked)
            files = {name: receipt(scratch / name) for name in places}
            (scratch / ABOUT).write_text(json.dumps({**said, "way": self.way, "files": files}))
            shutil.rmtree(entry, ignore_errors=True)
            scratch.rename(entry)
        shutil.rmtree(scratch, ignore_errors=True)

    def _runs(self) -> Iterator[Path]:
        yield self.run
        yield from self.near.runs()


def drop_steps(run: Path) -> None:
    """Remove what steps have left to go on from, far larger than weights, once a command has ended: nothing goes on then."""
    for one in (run / HOME).glob(f"*/{ONWARD}"):
        shutil.rmtree(one, ignore_errors=True)


def _copied(entry: Path, places: Mapping[str, Path]) -> dict[str, Any] | None:
    """Copy what was kept, all of it or nothing; return what was said of it."""
    try:
        home = entry.parent.parent.resolve() / HOME / entry.name
        if any((entry / name).resolve() != home / name for name in (ABOUT, *places)):  # a link leads elsewhere
            return None
        said: dict[str, Any] = json.loads((entry / ABOUT).read_text())
        told = {"way": str(said["way"]), "seconds": float(said["seconds"]), "tokens": int(said["tokens"])}
        if all(copied_files(entry / name, said["files"][name], place) for name, place in places.items()):
            return {**said, **told}
    except AMISS:
        pass
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)
    return None


def _name(content: str) -> str:
    return hashlib.sha256(f"{content} {code_content()}".encode()).hexdigest()


def _linked(source: str, target: str) -> None:
    """Link a file, or copy it where a file system has no links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
