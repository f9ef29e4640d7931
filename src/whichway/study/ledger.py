"""The database in which a study keeps every prediction, every spend, every decision (design.md §5)."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from whichway.core.model import Spend
from whichway.core.strategy import PromptVersion
from whichway.core.task import Prediction
from whichway.errors import BudgetReached, LedgerError
from whichway.study import tables
from whichway.study.commits import Commits

VERSION = 4
TAKEN = ("taken_from", "spared")  # in the result of a unit that this run has not spent all of
TIMED_EVERY_S = 0.5  # what a killed process has used is known to this, without writing it down with every call
# What is done for every call is put together once.
_WHOSE, _SPENT = ("trial", "phase", "state"), ("seconds", "usd", "tokens_in", "tokens_out", "cached_tokens")
_RESERVE = tables.units.insert()
_RECALL = sa.select(tables.units.c.result).where(
    tables.units.c.key == sa.bindparam("wanted"), tables.units.c.state == "settled"
)
_SETTLE = (
    tables.units.update()
    .where(tables.units.c.id == sa.bindparam("ticket"))
    .values(state="settled", **{name: sa.bindparam(f"new_{name}") for name in ("result", *_SPENT)})
)


class Ledger:
    """One study's book; the only writer of its run folder's `ledger.db`. Safe to use from several threads.

    Opening it takes the run folder's lock (released by the kernel when the process dies) and turns reservations that a
    killed process left behind into losses, charged in full.
    """

    def __init__(self, folder: Path, usd_cap: float = float("inf")) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.usd_cap = folder, usd_cap
        self._lock_file = _lock(folder)
        self._guard = threading.RLock()
        self._began = self._ticked = time.monotonic()
        self._timed = -float("inf")
        engine = sa.create_engine(
            f"sqlite:///{folder / 'ledger.db'}", connect_args={"check_same_thread": False, "timeout": 30}
        )
        try:
            self._open = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
                self._open.exec_driver_sql(f"PRAGMA {pragma}")
            if self._open.exec_driver_sql("PRAGMA quick_check").scalar() != "ok":
                raise sa.exc.DatabaseError("quick_check", None, ValueError("damaged"))
            tables.book.create_all(self._open)
        except sa.exc.DatabaseError as error:
            self._lock_file.close()
            raise LedgerError(
                f"The ledger {folder / 'ledger.db'} cannot be read: {error.orig}.",
                "Restore it from a copy, or start a new run with another --out.",
            ) from error
        with self.transaction() as db:
            db.execute(
                tables.units.update()
                .where(tables.units.c.state == "reserved")
                .values(state="lost", usd=tables.units.c.bound_usd)
            )
            self._session = db.execute(tables.sessions.insert().values(seconds=0.0)).inserted_primary_key[0]
            # This process is the only writer, so what is used or set aside need not be summed up for every call.
            self._charged = float(db.execute(sa.select(sa.func.sum(tables.units.c.usd))).scalar() or 0.0)
        self._bounds: dict[int, float] = {}
        self._till = threading.Lock()  # what is charged is known before it is committed, so that no two pass the cap
        self._commits = Commits(self._guard, self.transaction)

    def close(self) -> None:
        """Write down the time and release the lock."""
        self._timed = -float("inf")
        with self.transaction():
            pass
        self._open.close()
        self._open.engine.dispose()
        self._lock_file.close()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Everything inside is committed together, with the time used so far, or not at all."""
        with self._guard:
            self._open.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield self._open
                if hasattr(self, "_session") and time.monotonic() - self._timed > TIMED_EVERY_S:
                    self._timed = time.monotonic()
                    seconds = time.monotonic() - self._began
                    self._open.execute(
                        tables.sessions.update().where(tables.sessions.c.id == self._session).values(seconds=seconds)
                    )
            except BaseException:
                self._open.exec_driver_sql("ROLLBACK")
                raise
            self._open.exec_driver_sql("COMMIT")

    def earlier_seconds(self) -> float:
        """Return wall-clock seconds that earlier sessions of this study took."""
        where = tables.sessions.c.id != self._session
        return float(self._read(sa.select(sa.func.sum(tables.sessions.c.seconds)).where(where))[0][0] or 0.0)

    def tick(self) -> None:
        """Write the time down, at most once a second: a fit that is killed has used its time all the same."""
        if time.monotonic() - self._ticked > 1.0:
            self._ticked, self._timed = time.monotonic(), -float("inf")
            with self.transaction():
                pass

    def session_seconds(self) -> float:
        """Return wall-clock seconds of all sessions, this one included."""
        return self.earlier_seconds() + time.monotonic() - self._began

    # -- what the study is about -------------------------------------------------------------------------------------

    def note(self, key: str, value: Any) -> None:
        """Keep one fact about the study; writing it again replaces it."""
        with self.transaction() as db:
            db.execute(tables.about.delete().where(tables.about.c.key == key))
            db.execute(tables.about.insert().values(key=key, value=_dump(value)))

    def noted(self, key: str) -> Any | None:
        """Return a fact, or None."""
        rows = self._read(sa.select(tables.about.c.value).where(tables.about.c.key == key))
        return json.loads(rows[0][0]) if rows else None

    def decide(self, what: str, details: Mapping[str, Any]) -> None:
        """Write a decision down once; the same decision in a continued run is not repeated."""
        text = _dump(details)
        with self.transaction() as db:
            same = sa.select(tables.decisions.c.id).where(
                tables.decisions.c.what == what, tables.decisions.c.details == text
            )
            if not db.execute(same).first():
                db.execute(tables.decisions.insert().values(what=what, details=text))

    def decisions(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all decisions in order."""
        rows = self._read(
            sa.select(tables.decisions.c.what, tables.decisions.c.details).order_by(tables.decisions.c.id)
        )
        return [(what, json.loads(details)) for what, details in rows]

    # -- units of work: reserve -> call -> settle ------------------------------------------------------------------------

    def recall(self, key: str) -> dict[str, Any] | None:
        """Return the committed result of a unit of work, or None."""
        found = self._read(_RECALL, {"wanted": key})
        return json.loads(found[0][0]) if found else None

    def reserve(self, key: str, trial: str, phase: str, bound: Spend) -> int:
        """Set aside `bound.usd`; raises BudgetReached when spent + reserved + this would pass the cap."""
        with self._till:
            if bound.usd > 0 and (used := self._charged) + bound.usd > self.usd_cap:
                said = f"The next call could cost ${bound.usd:.4f}, but ${used:.4f} of ${self.usd_cap:.4f} are used or set aside."
                fix = "Raise budget.usd (or --budget-usd) and run the same command again: nothing paid for is lost."
                raise BudgetReached(said, fix)
            self._charged += bound.usd
        row = {"key": key, "trial": trial, "phase": phase, "state": "reserved", "bound_usd": bound.usd}
        try:
            ticket = int(self._commits.make(lambda db: db.execute(_RESERVE, row).inserted_primary_key[0]))
        except BaseException:
            with self._till:
                self._charged -= bound.usd
            raise
        self._bounds[ticket] = bound.usd
        return ticket

    def settle(self, ticket: int, spend: Spend, result: Mapping[str, Any]) -> None:
        """Commit what a unit cost and what came of it."""
        self._commits.make(lambda db: self._settle(db, ticket, spend, result))
        self._charge(ticket, spend)

    def lose(self, ticket: int, reason: str) -> None:
        """Keep the full reservation charged: nobody knows what the call cost."""
        with self.transaction() as db:
            lost = {"state": "lost", "usd": tables.units.c.bound_usd, "result": _dump({"reason": reason})}
            db.execute(tables.units.update().where(tables.units.c.id == ticket).values(**lost))

    def _charge(self, ticket: int, spend: Spend) -> None:
        with self._till:
            self._charged += spend.usd - self._bounds.pop(ticket, 0.0)

    def _settle(self, db: Any, ticket: int, spend: Spend, result: Mapping[str, Any]) -> None:
        cost = {f"new_{name}": getattr(spend, name) for name in _SPENT}
        db.execute(_SETTLE, {"ticket": ticket, "new_result": _dump(result), **cost})

    def spends(self) -> list[tuple[str, str, str, Spend]]:
        """Return (trial, phase, state, sum) for all units, in order of first appearance."""
        by, sums = [tables.units.c[name] for name in _WHOSE], [sa.func.sum(tables.units.c[name]) for name in _SPENT]
        ask = sa.select(*by, *sums).group_by(*by).order_by(sa.func.min(tables.units.c.id))
        return [(row[0], row[1], row[2], Spend(*row[3:])) for row in self._read(ask)]

    def lost(self) -> int:
        """Return how many units were lost; they stay charged at their reservation."""
        return int(self._read(sa.select(sa.func.count()).where(tables.units.c.state == "lost"))[0][0])

    def taken(self) -> list[tuple[str, str, str, Spend, dict[str, Any]]]:
        """Return (key, trial, phase, cost, result) of each unit that was taken over from another run, or a part of it, in order.

        A part that others had trained, in whichever run, is told by `spared` in its result.
        """
        columns, names = tables.units.c, ("key", "trial", "phase", "result", *_SPENT)
        said = sa.or_(*(columns.result.contains(f'"{one}"', autoescape=True) for one in TAKEN))
        where = (columns.state == "settled", said)
        rows = self._read(sa.select(*(columns[name] for name in names)).where(*where).order_by(columns.id))
        found = [(row[0], row[1], row[2], Spend(*row[4:]), json.loads(row[3])) for row in rows]
        return [one for one in found if any(name in one[-1] for name in TAKEN)]

    def calls(self, trial: str, phase: str) -> list[Spend]:
        """Return what each settled unit of one phase of a trial cost, in order."""
        where = (tables.units.c.trial == trial, tables.units.c.phase == phase, tables.units.c.state == "settled")
        ask = sa.select(*(tables.units.c[name] for name in _SPENT)).where(*where).order_by(tables.units.c.id)
        return [Spend(*row) for row in self._read(ask)]

    def call_seconds(self, trial: str, phase: str) -> list[float]:
        """Return the durations of a trial's settled units of one phase."""
        return [one.seconds for one in self.calls(trial, phase)]

    # -- trials and predictions --------------------------------------------------------------------------------------

    def set_trial(self, name: str, state: str, reason: str = "", facts: Mapping[str, Any] | None = None) -> None:
        """Write a trial's state; facts not given stay as they are."""
        with self.transaction() as db:
            old = db.execute(sa.select(tables.trials.c.facts).where(tables.trials.c.name == name)).first()
            merged = {**(json.loads(old[0]) if old else {}), **(facts or {})}
            db.execute(tables.trials.delete().where(tables.trials.c.name == name))
            db.execute(tables.trials.insert().values(name=name, state=state, reason=reason, facts=_dump(merged)))

    def forget_trial(self, name: str) -> None:
        """Drop a trial's state and predictions; what it cost stays in the book."""
        with self.transaction() as db:
            db.execute(tables.trials.delete().where(tables.trials.c.name == name))
            db.execute(tables.predictions.delete().where(tables.predictions.c.trial == name))

    def trial(self, name: str) -> tuple[str, str, dict[str, Any]] | None:
        """Return (state, reason, facts) of a trial, or None."""
        where = tables.trials.c.name == name
        rows = self._read(sa.select(tables.trials.c.state, tables.trials.c.reason, tables.trials.c.facts).where(where))
        return (rows[0][0], rows[0][1], json.loads(rows[0][2])) if rows else None

    def commit_block(
        self,
        ticket: int,
        spend: Spend,
        trial: str,
        part: str,
        rows: Sequence[tuple[str, Prediction, Any]],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit a block of (example id, prediction, metric's score) and settle its unit, all or nothing."""
        values = [
            {
                "trial": trial,
                "part": part,
                "example": example,
                "value": _dump(one.value),
                "scores": _dump(one.scores),
                "score": _dump(score),
                "sources": _dump(one.sources),
                "passages": _dump(one.passages),
                "confidence": one.confidence,
                "parsed": int(one.parsed),
            }
            for example, one, score in rows
        ]
        with self.transaction() as db:
            if values:
                db.execute(tables.predictions.insert(), values)
            self._settle(db, ticket, spend, {"rows": len(values), **(about or {})})
        self._charge(ticket, spend)

    def predictions(self, trial: str, part: str) -> dict[str, tuple[Prediction, Any]]:
        """Return example id -> (prediction, metric's score)."""
        where = (tables.predictions.c.trial == trial, tables.predictions.c.part == part)
        found = {}
        for row in self._read(sa.select(tables.predictions).where(*where)):
            found[row.example] = (tables.prediction(row._mapping), json.loads(row.score))
        return found

    def scores(self, trial: str, part: str) -> dict[str, Any]:
        """Return example id -> metric's score: what a race reads again and again, without the answers themselves."""
        columns = tables.predictions.c
        ask = sa.select(columns.example, columns.score).where(columns.trial == trial, columns.part == part)
        return {example: json.loads(score) for example, score in self._read(ask)}

    # -- prompts and vectors ----------------------------------------------------------------------------------------

    def keep_prompt(self, trial: str, part: str, one: PromptVersion) -> None:
        """Keep a prompt that was scored, once for each number of rows and each change; a prompt is never forgotten."""
        row: dict[str, Any] = {"id": one.id, "trial": trial, "part": part, "parent": one.parent, "change": one.change}
        row |= {"text": one.text, "messages": _dump(one.messages), "score": one.score, "rows": one.rows}
        row |= {"tokens": one.tokens, "seconds": one.spend.seconds, "usd": one.spend.usd}
        with self.transaction() as db:
            db.execute(tables.prompts.insert().prefix_with("OR IGNORE"), [row])

    def prompts(self) -> list[dict[str, Any]]:
        """Return all prompts in the order in which they were scored."""
        found = self._read(sa.select(tables.prompts).order_by(tables.prompts.c.number))
        return [{**row._mapping, "messages": json.loads(row.messages)} for row in found]

    def keep_scored(self, prompts: Sequence[Mapping[str, Any]]) -> None:
        """Keep prompts as `prompts` tells them, each once for each number of rows and each change."""
        with self.transaction() as db:
            if prompts:
                db.execute(tables.prompts.insert().prefix_with("OR IGNORE"), [dict(one) for one in prompts])

    def vectors(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the known ones among content keys."""
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), 500):
            where = tables.vectors.c.key.in_(keys[start : start + 500])
            found.update((row[0], row[1]) for row in self._read(sa.select(tables.vectors).where(where)))
        return found

    def keep_vectors(self, vectors: Mapping[str, bytes]) -> None:
        """Keep vectors by content key, all or nothing."""
        with self.transaction() as db:
            if rows := [{"key": key, "vector": vector} for key, vector in vectors.items()]:
                db.execute(tables.vectors.insert().prefix_with("OR IGNORE"), rows)

    def _read(self, statement: Any, values: Mapping[str, Any] | None = None) -> Any:
        with self._guard:
            return self._open.execute(statement, values).fetchall()


def read_prompts(folder: Path) -> list[dict[str, Any]]:
    """Return all prompts of a run folder without taking its lock: a run under way may be looked at."""
    path = Path(folder) / "ledger.db"
    if not path.exists():
        return []
    engine = sa.create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true")
    try:
        with engine.connect() as db:
            found = db.execute(sa.select(tables.prompts).order_by(tables.prompts.c.number)).fetchall()
    except sa.exc.OperationalError:  # written by an earlier version, which kept no prompts
        return []
    finally:
        engine.dispose()
    return [{**row._mapping, "messages": json.loads(row.messages)} for row in found]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _lock(folder: Path) -> Any:
    """Take the run folder's lock, or say who holds it."""
    import fcntl

    path = folder / "owner.lock"
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise LedgerError(
            f"Another process (pid {owner}) is working in {folder}.",
            "Wait until it has ended, or give this run another --out.",
        ) from error
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file
