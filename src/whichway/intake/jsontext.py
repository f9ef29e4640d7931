"""Strict JSON: what other readers take silently (NaN, lone surrogates, duplicate keys) is refused or named."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichway.errors import DataError
from whichway.intake.decode import position
from whichway.intake.finding import refuse, show

MAX_DEPTH = 64

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class JsonText:
    """A text of which JSON values are read one after the other; `twice` gathers duplicate keys as (key, offset)."""

    path: Path
    text: str
    twice: list[tuple[str, int]] = field(default_factory=list)

    def read(self, start: int, stop: int | None = None) -> tuple[Any, int]:
        """Return the value that begins at `start` and the offset after it; raises DataError with line and column.

        With `stop`, the value must end before that offset: the end of a line of JSONL.
        """
        seen: list[str] = []
        decoder = json.JSONDecoder(
            object_pairs_hook=lambda pairs: _object(pairs, seen),
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        try:
            if stop is None:
                value, end = decoder.raw_decode(self.text, start)
            else:
                value, end = decoder.raw_decode(self.text[start:stop])
                end += start
        except json.JSONDecodeError as error:
            at = error.pos if stop is None else error.pos + start
            raise self.bad(at, f"this is not JSON: {error.msg}.", "Mend the line, or write it anew.") from None
        except RecursionError:
            raise self.bad(start, "the value is nested too deeply.", f"Keep it to {MAX_DEPTH} levels.") from None
        except _BadNumber as error:
            at = max(self.text.find(str(error), start), start)
            what = f"{show(str(error), 20)} is not a finite number."
            raise self.bad(at, what, "Write null, or leave the field out.") from None
        self._check(value, start, end)
        self.twice.extend((key, start) for key in seen)
        return value, end

    def skip(self, at: int) -> int:
        """Return the offset of the next character that is no white space."""
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def bad(self, at: int, what: str, fix: str) -> DataError:
        """Return the error for something wrong at an offset."""
        line, column = position(self.text, at)
        return refuse(self.path, what, fix, line, column)

    def _check(self, value: Any, start: int, end: int) -> None:
        brackets = self.text.count("[", start, end) + self.text.count("{", start, end)
        if brackets > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise self.bad(start, "the value is nested too deeply.", f"Keep it to {MAX_DEPTH} levels.")
        found = _SURROGATE.search(self.text, start, end)
        if found and not _is_unicode(value):
            fix = "Write the character itself, or both halves of the pair."
            raise self.bad(found.start(), f"{found.group()} is half of a character (a lone surrogate).", fix)


class _BadNumber(ValueError):
    """A number that is not finite; its text is the message."""


def _object(pairs: list[tuple[str, Any]], seen: list[str]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        seen.extend(key for key in made if keys.count(key) > 1)
    return made


def _no_constant(name: str) -> float:
    raise _BadNumber(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _BadNumber(text)
    return number


def _integer(text: str) -> int:
    # More digits than this do not fit a float, and Python itself refuses to convert more than 4,300.
    if len(text) > 300:
        raise _BadNumber(text)
    return int(text)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        inside = [one for one in level if isinstance(one, dict | list)]
        level = [part for one in inside for part in (one.values() if isinstance(one, dict) else one)]
    return depth


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
