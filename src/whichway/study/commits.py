"""Units of work of many threads committed together: whoever comes to write takes along what the others have brought meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class _Work:
    """One write: what it does with the database, and what came of it. `turn`: it is done, or its thread is to lead."""

    write: Callable[[Any], Any]
    result: Any = None
    error: BaseException | None = None
    is_done: bool = False
    turn: threading.Event = field(default_factory=threading.Event)


class Commits:
    """Group commit (DeWitt et al. 1984): a commit waits for the disk, and meanwhile the next group gathers.

    `guard` lets one thread write at a time; `transaction` commits all that is done inside, or nothing of it.
    """

    def __init__(self, guard: Any, transaction: Callable[[], AbstractContextManager[Any]]) -> None:
        self._guard, self._transaction = guard, transaction
        self._gate = threading.Lock()
        self._waiting: list[_Work] = []
        self._is_led = False

    def make(self, write: Callable[[Any], Any]) -> Any:
        """Return what `write` returns, once that is committed; raises what went wrong for any of its group."""
        mine = _Work(write)
        with self._gate:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        if not leads:
            self._wait(mine)
        if not mine.is_done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _wait(self, mine: _Work) -> None:
        """Wait for the turn, through an interruption, too: the others' writes may hang on this thread's leading."""
        trouble: BaseException | None = None
        while not mine.turn.is_set():
            try:
                mine.turn.wait()
            except BaseException as error:
                trouble = error
        if trouble is not None:
            if not mine.is_done:
                self._lead()
            raise trouble

    def _lead(self) -> None:
        """Commit all that waits, then hand on to the first of those who came meanwhile."""
        group: list[_Work] = []
        try:
            with self._guard:
                with self._gate:
                    group, self._waiting = self._waiting, []
                with self._transaction() as database:
                    for one in group:
                        one.result = one.write(database)
        except BaseException as error:
            for one in group:
                one.error = error
        finally:
            with self._gate:
                after = self._waiting[0] if self._waiting else None
                self._is_led = after is not None
            for one in group:
                one.is_done = True
                one.turn.set()
            if after is not None:
                after.turn.set()
