"""Answers as server-sent events: a language model's words as it writes them, any other answer cut into words."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from whichway.core.model import Reply
from whichway.errors import WhichwayError
from whichway.live.serving.refusal import error_body

Say = Callable[[str], None]


def words(text: str) -> list[str]:
    """Return a text cut behind its spaces."""
    cut = text.split(" ")
    return [*(f"{word} " for word in cut[:-1]), cut[-1]]


def events(
    head: Mapping[str, Any], pieces: Iterable[str], made: Callable[[], Mapping[str, Any]], usage: bool
) -> Iterator[str]:
    """Yield an answer: the role, its pieces as they come, why it ended, and [DONE].

    `made` returns the whole answer once all pieces are there; what goes wrong under way is told as an error of its own.
    """
    known = {key: head[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def event(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> str:
        rows = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _line({**known, "choices": rows, **more})

    yield event({"role": "assistant", "content": ""})
    try:
        for piece in pieces:
            yield event({"content": piece})
    except WhichwayError as error:
        yield _line(error_body(f"{error.problem} {error.fix}".strip(), "server_error"))
        return
    whole = made()
    yield event({}, whole["choices"][0]["finish_reason"], **{key: whole[key] for key in ("whichway",) if key in whole})
    if usage:
        yield _line({**known, "choices": [], "usage": whole["usage"]})
    yield "data: [DONE]\n\n"


def _line(said: Any) -> str:
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n"


class _Unheard(Exception):
    """Whoever asked is gone, so nothing more need be written."""


class Writing:
    """A text that a thread of its own writes; iterating it yields the pieces as they come, then `reply` is there."""

    def __init__(self, write: Callable[[Say], Reply]) -> None:
        self._write = write
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._is_gone = threading.Event()
        self._trouble: BaseException | None = None
        self.reply = Reply("")

    def __iter__(self) -> Iterator[str]:
        threading.Thread(target=self._work, daemon=True).start()
        try:
            while (piece := self._pieces.get()) is not None:
                yield piece
        finally:
            self._is_gone.set()
        if self._trouble is not None:
            raise self._trouble

    def _work(self) -> None:
        try:
            self.reply = self._write(self._say)
        except _Unheard:
            pass
        except BaseException as error:
            self._trouble = error
        finally:
            self._pieces.put(None)

    def _say(self, piece: str) -> None:
        if self._is_gone.is_set():
            raise _Unheard
        self._pieces.put(piece)
