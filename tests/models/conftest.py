"""A fault server to play with and a ledger of its own, for every test of the endpoints."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint_play import Play
from fault_server import Fault, FaultServer

from whichway.study.ledger import Ledger


@pytest.fixture
def play() -> Iterator[Play]:
    """Start a server from a function, a list by request number (the last one repeats), or one fault."""
    running: list[FaultServer] = []

    def start(script: Any = None) -> FaultServer:
        script = Fault() if script is None else script
        if isinstance(script, Fault):
            script = [script]
        listed = script
        act = script if callable(script) else lambda seen: listed[min(seen.number, len(listed) - 1)]
        running.append(FaultServer(act))
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    book = Ledger(tmp_path / "run")
    yield book
    book.close()


@pytest.fixture(autouse=True)
def _interruptible():
    """A shell's background job ignores Ctrl-C from birth; what these tests send must arrive all the same."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
