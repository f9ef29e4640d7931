"""What is computed once and kept in memory, for all models of a process within one bound: beginnings of prompts, wide heads."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from threading import RLock
from typing import Any

from whichway.models import hardware

Tokens = tuple[int, ...]
States = list[tuple[Any, Any]]
Key = tuple[int, bool, Tokens]  # number of the owner; a copy laid end to end, or a piece; all tokens up to its end
KEPT_BYTES = (1 << 30, 8 << 30)  # at most, in main memory or a GPU's, by all owners of the process
KEPT_SHARE = 0.25  # of free memory
_NUMBERS = count()


def new_number() -> int:
    """Return a number that no other owner has."""
    return next(_NUMBERS)


class Shelf:
    """What is kept of all networks of a process, each under the number of its owner; the longest unused goes first."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit, self._lock = limit, RLock()
        self._kept: OrderedDict[Key, States] = OrderedDict()
        self.bytes = 0

    def find(self, key: Key) -> States | None:
        """Return what is kept under a key, and count it as used."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Key, states: States) -> None:
        """Keep states; what is over the limit goes, at the last these themselves."""
        with self._lock:
            self.drop(key)
            self._kept[key] = states
            self.bytes += _bytes(states)
            most = self.limit()
            while self.bytes > most:
                self.drop(next(iter(self._kept)))

    def drop(self, key: Key) -> None:
        """Keep something no longer."""
        with self._lock:
            self.bytes -= _bytes(self._kept.pop(key, []))

    def forget(self, owner: int) -> None:
        """Keep nothing more of an owner."""
        with self._lock:
            for key in [one for one in self._kept if one[0] == owner]:
                self.drop(key)

    def limit(self) -> int:
        """Return how many bytes may be kept: a share of the memory that would be free without them, up to a ceiling."""
        if self._limit is not None:
            return self._limit
        return min(hardware.at_once(*KEPT_BYTES), int(KEPT_SHARE * (hardware.free_bytes() + self.bytes)))


SHELF = Shelf()


def _bytes(states: States) -> int:
    return sum(one.numel() * one.element_size() for pair in states for one in pair if one is not None)
