"""Runs whose folders lie beside this one: their finished fits and answers, found by content, read and copied, never changed."""

# Only the folders of the same parent are looked into, so that data stay where the user has put them. They may be anybody's:
# what is not as a run of this user leaves it is passed over. Files are checked by their hashes, links are not followed, and
# formats that hold code are refused.

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from whichway.core.model import Spend
from whichway.core.strategy import ONWARD, PICKLED, RESUME
from whichway.core.task import Prediction
from whichway.study import tables
from whichway.study.lines import folder_name

SPENT = ("seconds", "usd", "tokens_in", "tokens_out", "cached_tokens")
UNITS = "SELECT * FROM units WHERE state = 'settled' AND result LIKE '%\"content\"%'"
ANSWERS = "SELECT * FROM predictions WHERE trial = ? AND part = ?"
PROMPTS = "SELECT * FROM prompts WHERE trial = ? AND part = 'train' ORDER BY number"
AMISS = (
    sqlite3.Error,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)  # of a folder that is no whole run


@dataclass(frozen=True)
class Unit:
    """One unit of work that another run has committed: `about` is its result, `spend` what it cost there."""

    run: Path
    key: str
    trial: str
    part: str
    about: Mapping[str, Any]
    spend: Spend


class Beside:
    """What the runs beside one have committed, by content; read at the first question. Without a folder there are none."""

    def __init__(self, own: Path | None = None) -> None:
        self._own = own
        self._known: dict[str, list[Unit]] | None = None

    def runs(self) -> Iterator[Path]:
        """Yield the run folders beside this one that are this user's."""
        if self._own is not None:
            yield from _runs(self._own)

    def find(self, content: str) -> list[Unit]:
        """Return the units with this content, those first that were not taken over themselves."""
        if not content or self._own is None:
            return []
        if self._known is None:
            self._known = {}
            for run in self.runs():
                for unit in _units(run):
                    self._known.setdefault(unit.about["content"], []).append(unit)
        return sorted(self._known.get(content, []), key=lambda one: "taken_from" in one.about)


def receipt(folder: Path) -> dict[str, list[Any]]:
    """Return the files of a fit with size and SHA-256; what only goes on to another fit is not of it."""
    return {name: [path.stat().st_size, _sha256(path)] for name, path in _files(folder)}


def copied(unit: Unit, folder: Path) -> bool:
    """Copy a fit's files into an empty folder; False where they are not, one by one, what its run wrote down."""
    try:
        source = unit.run / "trials" / folder_name(unit.trial) / str(unit.about["folder"])
        if source.resolve() != unit.run.resolve() / "trials" / folder_name(unit.trial) / source.name:
            return False
        return copied_files(source, unit.about["files"], folder)
    except AMISS:
        return False


def copied_files(source: Path, files: Mapping[str, Sequence[Any]], folder: Path) -> bool:
    """Copy files into an empty folder; False where they are not those, one by one, of a `receipt`: then nothing is copied."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if dict(_files(source)).keys() != files.keys():
            return False
        folder.mkdir(parents=True)
        for name, path in _files(source):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)
        whole = receipt(folder) == {name: list(one) for name, one in files.items()}
    except AMISS:
        whole = False
    if not whole:
        shutil.rmtree(folder, ignore_errors=True)
    return whole


def prompts(unit: Unit) -> list[dict[str, Any]]:
    """Return the prompts that a fit has scored, as its run keeps them."""
    try:
        wanted = {tuple(one) for one in unit.about["prompts"]}
        if not wanted:
            return []
        with closing(_opened(unit.run)) as book:
            rows = [one for one in book.execute(PROMPTS, (unit.trial,)) if (one["id"], one["rows"]) in wanted]
            return [{name: row[name] for name in tables.prompts.columns.keys() if name != "number"} for row in rows]
    except AMISS:
        return []


def answers(unit: Unit, ids: Sequence[str]) -> list[Prediction] | None:
    """Return a block's answers in order; None where not all are there, or where they are of another form of the trial."""
    try:
        with closing(_opened(unit.run)) as book:
            facts = book.execute("SELECT facts FROM trials WHERE name = ?", (unit.trial,)).fetchone()
            if json.loads(facts["facts"])["key"] != unit.key.split("/")[0]:
                return None
            rows = {row["example"]: row for row in book.execute(ANSWERS, (unit.trial, unit.part))}
        return [tables.prediction(rows[id_]) for id_ in ids]
    except AMISS:
        return None


def _runs(own: Path) -> Iterator[Path]:
    """Yield the other run folders of the same parent that are this user's, the newest first."""
    try:
        home = own.resolve()
        found = [
            one for one in home.parent.iterdir() if one != home and _is_plain(one) and _is_plain(one / "ledger.db")
        ]
        yield from sorted(found, key=lambda one: -(one / "ledger.db").stat().st_mtime)
    except OSError:
        return


def _is_plain(path: Path) -> bool:
    """Tell whether there is something of this user under a path, and no link."""
    try:
        return not path.is_symlink() and path.stat().st_uid == os.getuid()
    except OSError:
        return False


def _units(run: Path) -> list[Unit]:
    """Return what a run has committed with a content; nothing where its book cannot be read."""
    try:
        with closing(_opened(run)) as book:
            rows = book.execute(UNITS).fetchall()
        found = []
        for row in rows:
            about = json.loads(row["result"])
            if isinstance(about, dict) and isinstance(about.get("content"), str):
                seconds, usd, *tokens = (row[name] for name in SPENT)
                spend = Spend(float(seconds), float(usd), *map(int, tokens))
                found.append(Unit(run, row["key"], row["trial"], row["phase"], about, spend))
        return found
    except AMISS:
        return []


def _opened(run: Path) -> sqlite3.Connection:
    book = sqlite3.connect(f"file:{quote(str(run / 'ledger.db'))}?mode=ro", uri=True, timeout=5)
    book.row_factory = sqlite3.Row
    return book


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file of a fit; raises ValueError for a link and for a format that may hold code."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] in (ONWARD, RESUME):
            continue
        if path.is_symlink() or path.suffix.lower() in PICKLED:
            raise ValueError(f"{path} is not taken over")
        if not path.is_dir():
            yield name.as_posix(), path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
