"""Name -> thing, for the kinds one may add: a format, a metric, a model, a strategy."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from whichway.errors import UsageError

ROOMS = {"format": "intake", "metric": "metrics", "model": "models", "strategy": "strategies"}

_things: dict[str, dict[str, Any]] = {kind: {} for kind in ROOMS}
_loaded: set[str] = set()

T = TypeVar("T")


def register(kind: str, name: str) -> Callable[[T], T]:
    """Put a class or function under `name`; the decorator returns it unchanged."""

    def put(thing: T) -> T:
        known = _things[kind].get(name)
        same = known is not None and getattr(known, "__qualname__", 0) == getattr(thing, "__qualname__", 1)
        if known is not None and not same:
            raise UsageError(f"Two things are registered as {kind} {name!r}.", "Rename one of them.")
        _things[kind][name] = thing
        return thing

    return put


def get(kind: str, name: str) -> Any:
    """Return the thing registered under `name`; raises UsageError with the nearest known names."""
    _load(kind)
    if name not in _things[kind]:
        raise UsageError(f"There is no {kind} called {name!r}.", f"Known: {', '.join(names(kind))}.")
    return _things[kind][name]


def names(kind: str) -> list[str]:
    """Return all registered names of a kind, sorted."""
    _load(kind)
    return sorted(_things[kind])


def _load(kind: str) -> None:
    """Import every file of the kind's room once, then what other packages offer as entry points."""
    if kind in _loaded:
        return
    _loaded.add(kind)
    room = importlib.import_module(f"whichway.{ROOMS[kind]}")
    for module in pkgutil.iter_modules(room.__path__):
        if not module.name.startswith("_") and not module.ispkg:
            importlib.import_module(f"{room.__name__}.{module.name}")
    for entry in entry_points(group=f"whichway.{kind}"):
        register(kind, entry.name)(entry.load())
