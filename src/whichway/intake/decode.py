"""Bytes to text: which encoding a file has, and what cannot be text at all."""

from __future__ import annotations

import re
from pathlib import Path

from whichway.errors import DataError
from whichway.intake.finding import Finding, refuse

SAVE_AS_UTF8 = "Save the file as UTF-8 and try again."

# The UTF-32 mark begins with the one of UTF-16 LE, so it comes first.
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
# Overlong forms and encoded surrogates: made by broken or hostile writers, never by an editor in CP1252.
_FORGED = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xed[\xa0-\xbf][\x80-\xbf]")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")


def decode(data: bytes, path: Path) -> tuple[str, str, list[Finding]]:
    """Return the text, the name of its encoding, and what had to be assumed; raises DataError for what is not text."""
    text, encoding, notes = _by_mark(data, path) or _by_content(data, path)
    if "\x00" in text:
        line, column = position(text, text.index("\x00"))
        fix = "Export the data as CSV (UTF-8) or JSONL."
        raise refuse(path, "there is a NUL byte, so this is not text.", fix, line, column)
    text, more = _without_controls(text, path)
    return text, encoding, notes + more


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of a character of the text; CR, LF and CRLF each end a line."""
    before = text[:offset]
    line = before.count("\n") + before.count("\r") - before.count("\r\n") + 1
    return line, offset - max(before.rfind("\n"), before.rfind("\r"))


def _by_mark(data: bytes, path: Path) -> tuple[str, str, list[Finding]] | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding), encoding, []
            except UnicodeDecodeError as error:
                raise _undecodable(data, path, error.start, f"it begins as {encoding} and is not") from None
    return None


def _by_content(data: bytes, path: Path) -> tuple[str, str, list[Finding]]:
    wide = _wide_without_mark(data)
    if wide:
        try:
            return data.decode(wide), wide, [_assumed(path, wide)]
        except UnicodeDecodeError as error:
            raise _undecodable(data, path, error.start, f"it looks like {wide} and is not") from None
    try:
        return data.decode("utf-8"), "utf-8", []
    except UnicodeDecodeError as error:
        return _single_byte(data, path, error.start)


def _wide_without_mark(data: bytes) -> str:
    """Tell UTF-16 without a mark by where its zero bytes stand in the first 4 kB."""
    head = data[:4096]
    even, odd = head[0::2], head[1::2]
    if len(head) < 4 or b"\x00" not in head:
        return ""
    if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return ""


def _single_byte(data: bytes, path: Path, bad: int) -> tuple[str, str, list[Finding]]:
    """Read what is not UTF-8 as CP1252 when that is plausible: Western text has few bytes above 127."""
    if b"\x00" in data:
        raise _undecodable(data, path, data.index(b"\x00"), "it holds NUL bytes, so it is not text")
    if _FORGED.search(data):
        raise _undecodable(data, path, bad, "the bytes are a forged (overlong) UTF-8 sequence")
    invalid = data.decode("utf-8", errors="replace").count("�") - data.count("�".encode())
    valid = len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]+", data))
    if valid > invalid:
        raise _undecodable(data, path, bad, "this byte is not UTF-8 while the rest of the file is")
    high, solid = len(re.findall(rb"[\x80-\xff]", data)), len(re.findall(rb"[^\s]", data))
    if high > 0.35 * solid:
        raise _undecodable(data, path, bad, "it is neither UTF-8 nor a Western encoding")
    try:
        return data.decode("cp1252"), "cp1252", [_assumed(path, "cp1252")]
    except UnicodeDecodeError as error:
        raise _undecodable(data, path, error.start, "it is neither UTF-8 nor CP1252 (Western Windows)") from None


def _without_controls(text: str, path: Path) -> tuple[str, list[Finding]]:
    text = text.rstrip("\x1a")
    controls = _CONTROL.search(text)
    if not controls:
        return text, []
    line, column = position(text, controls.start())
    if len(_CONTROL.findall(text)) > max(1.0, 0.05 * len(text)):
        raise refuse(path, "it is full of control characters, so this is not text.", SAVE_AS_UTF8, line, column)
    message = f"{path.name}, line {line}, column {column}: a control character stands in the text; it was kept."
    return text, [Finding("control-characters", "warning", message, (f"line {line}",))]


def _undecodable(data: bytes, path: Path, offset: int, why: str) -> DataError:
    line = data.count(b"\n", 0, offset) + 1
    column = offset - data.rfind(b"\n", 0, offset)
    what = f"byte 0x{data[min(offset, len(data) - 1)]:02x} cannot be read: {why}."
    return refuse(path, what, SAVE_AS_UTF8, line, column)


def _assumed(path: Path, encoding: str) -> Finding:
    message = f"{path.name} is not UTF-8 and was read as {encoding}. Look at a few rows, and save it as UTF-8."
    return Finding("encoding-assumed", "warning", message)
