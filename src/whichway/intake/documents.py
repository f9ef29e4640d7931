"""Documents to look answers up in: a file of rows, one text, or a folder of texts, pages and PDFs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.task import Document
from whichway.errors import DataError
from whichway.intake.decode import decode
from whichway.intake.finding import Finding, nearest, refuse, show, show_path
from whichway.intake.jsonrows import objects
from whichway.intake.markup import read_html
from whichway.intake.pdf import read_pdf
from whichway.intake.source import open_source, regular_size

MAX_FILES = 50_000
MAX_FILE_BYTES = 50_000_000
MAX_TEXT_CHARACTERS = 500_000_000
NAMED = 20  # rows named by one finding
TEXTS = (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml", ".pdf")
ROWS = (".jsonl", ".ndjson", ".json")

_FORMS = "documents.jsonl with one {'id', 'title', 'text'} a line, or a folder of .txt, .md, .html and .pdf files"
_SPLIT = "Split it into files of one topic each."
_FENCE = re.compile(r"^\s*(```|~~~)")
_UNDERLINED = re.compile(r"^(\S.*)\n(=+|-{3,})[ \t]*$", re.M)
_FRONT = re.compile(r"\A---\n(.*?)\n---[ \t]*\n", re.S)


def read_documents(path: Path | str) -> tuple[tuple[Document, ...], list[Finding]]:
    """Read documents.jsonl, one text, or a folder with all below it.

    The id of a file is its path relative to the folder, with '/'. What cannot be read in a folder becomes a finding and
    the rest goes on; raises DataError where nothing is left, or where ids cannot be told apart.
    """
    path = Path(path)
    if path.is_dir():
        documents, findings = _folder(path)
    elif path.suffix.lower() in ROWS:
        documents, findings = _rows(path)
    elif path.suffix.lower() in TEXTS:
        documents, findings = [], []
        for one, found in [_read(path, path.name)]:
            documents, findings = [one], found
    else:
        regular_size(path)
        raise refuse(
            path, f"documents are not read from {path.suffix or 'a file without extension'}.", f"Give {_FORMS}."
        )
    kept = [one for one in documents if one.text.strip()]
    if not kept:
        first = findings[0].message if findings else f"{show_path(path)}: there are no documents."
        raise DataError(f"{show_path(path)}: no document can be read. {first}", f"Give {_FORMS}.")
    return tuple(kept), [*findings, *_empty(documents), *_same(kept)]


def _rows(path: Path) -> tuple[list[Document], list[Finding]]:
    source = open_source(path)
    found = objects(source)
    documents: dict[str, Document] = {}
    lines: dict[str, int] = {}
    twice = []
    for row, line in zip(found.rows, found.lines, strict=True):
        one = _document(path, row, line)
        if one.id not in documents:
            documents[one.id], lines[one.id] = one, line
        elif documents[one.id] == one:
            twice.append(one.id)
        else:
            what = f"the id {show(one.id)} is also that of line {lines[one.id]}, whose text is another."
            raise refuse(path, what, "Give each document its own id.", line, "id")
    findings = [*source.notes, *found.notes]
    if twice:
        message = f"{path.name}: {len(twice):,} documents stand there twice and were taken once."
        findings.append(Finding("document-twice", "warning", message, tuple(twice[:NAMED])))
    return list(documents.values()), findings


def _document(path: Path, row: dict[str, Any], line: int) -> Document:
    name = "id" if "id" in row or "_id" not in row else "_id"  # BEIR writes _id
    for column in (name, "text"):
        if column not in row:
            raise refuse(path, f"there is no {show(column)}.", nearest(column, list(row)), line)
    key, title, text = row[name], row.get("title") or "", row["text"]
    if isinstance(key, bool) or not isinstance(key, str | int) or not str(key).strip():
        raise refuse(path, f"{show(key)} is no id.", "Write a text or a whole number.", line, name)
    for column, value in (("title", title), ("text", text)):
        if not isinstance(value, str):
            raise refuse(path, f"{show(value)} is no text.", f"Write {column!r} as a string.", line, column)
    return Document(str(key), title.strip(), text.strip())


@dataclass(frozen=True)
class _File:
    """A file in the folder: where it is, its id, and why it is passed over, if it is."""

    path: Path
    id: str
    passed: str = ""


def _folder(folder: Path) -> tuple[list[Document], list[Finding]]:
    files = list(_files(folder))
    wanted = [one for one in files if not one.passed and one.path.suffix.lower() in TEXTS]
    if len(wanted) > MAX_FILES:
        what = f"there are {len(wanted):,} files; at most {MAX_FILES:,} are read."
        raise refuse(folder, what, "Give the part of the folder that the questions are about.")
    if not wanted:
        beside = next((one.path for one in files if one.path.suffix.lower() in ROWS), None)
        fix = f"Give {show_path(beside)} itself." if beside else f"Give {_FORMS}."
        raise refuse(folder, "the folder holds no .txt, .md, .html or .pdf file.", fix)
    documents, findings = [], [_passed(one) for one in files if one.passed]
    size = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for found in pool.map(_attempt, wanted):
            documents += found[0]
            findings += found[1]
            size += sum(len(one.text) for one in found[0])
            if size > MAX_TEXT_CHARACTERS:
                pool.shutdown(cancel_futures=True)
                what = f"there are more than {MAX_TEXT_CHARACTERS / 1e6:,.0f} million characters of text."
                raise refuse(folder, what, "Give the part of the folder that the questions are about.")
    others = [one.id for one in files if not one.passed and one.path.suffix.lower() not in TEXTS]
    if others:
        message = f"{len(others):,} files of other kinds were passed over. Read are .txt, .md, .html and .pdf."
        findings.append(Finding("document-other-kind", "info", message, tuple(others[:NAMED])))
    return documents, findings


def _files(folder: Path) -> Iterator[_File]:
    """Yield all files in a fixed order; hidden ones are passed over in silence, links out of the folder by name."""
    home = folder.resolve()
    for where, names, files in os.walk(folder):
        for name in list(names):
            if name.startswith("."):
                names.remove(name)
            elif (Path(where) / name).is_symlink():
                yield _File(Path(where) / name, _id(folder, Path(where) / name), "it is a link to another folder")
        names.sort()
        for name in sorted(one for one in files if not one.startswith(".")):
            path = Path(where) / name
            outside = path.is_symlink() and home not in path.resolve().parents
            yield _File(path, _id(folder, path), "it is a link out of the folder" if outside else "")


def _id(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _passed(one: _File) -> Finding:
    message = f"{show_path(one.path)}: {one.passed}, and was passed over. Copy what it leads to into the folder."
    return Finding("document-outside", "warning", message, (one.id,))


def _attempt(one: _File) -> tuple[list[Document], list[Finding]]:
    """Read one file of many: what is wrong with it is a finding."""
    try:
        document, findings = _read(one.path, one.id)
    except DataError as error:
        message = f"{error.problem.rstrip('.')}; the file was passed over. {error.fix}"
        return [], [Finding("document-unreadable", "warning", message, (one.id,))]
    return [document], findings


def _read(path: Path, key: str) -> tuple[Document, list[Finding]]:
    """Return the document of one file and what had to be assumed; raises DataError for what cannot be read."""
    size = regular_size(path)
    if size > MAX_FILE_BYTES:
        what = f"the file has {size / 1e6:,.0f} MB; at most {MAX_FILE_BYTES / 1e6:,.0f} MB are read."
        raise refuse(path, what, _SPLIT)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refuse(path, f"it cannot be read: {error.strerror or error}.", "Check its permissions.") from None
    if not data.strip():
        return Document(key, path.stem, ""), []
    if path.suffix.lower() == ".pdf" or data.startswith(b"%PDF-"):
        title, text, note = read_pdf(path, data)
        missing = [Finding("document-cut", "warning", f"{show_path(path)}: {note}.", (key,))] if note else []
        return Document(key, title or path.stem, text), missing
    text, _, findings = decode(data, path)
    title, text = _parts(path.suffix.lower(), text.replace("\r\n", "\n").replace("\r", "\n"))
    return Document(key, title or path.stem, text.strip()), findings


def _parts(suffix: str, text: str) -> tuple[str, str]:
    """Return (title, text): of a page its <title>, of Markdown and pages without one the first heading."""
    if suffix in (".html", ".htm", ".xhtml"):
        title, text = read_html(text)
        return title or _first_heading(text), text
    return _markdown(text) if suffix in (".md", ".markdown") else ("", text)


def _markdown(text: str) -> tuple[str, str]:
    """Return (title, text): front matter is left out but for its title, underlined headings become `# ` lines."""
    front = _FRONT.match(text)
    named = re.search(r"^title:[ \t]*(.+)$", front[1], re.M) if front else None
    text = text[front.end() :] if front else text
    text = _UNDERLINED.sub(lambda found: ("# " if found[2][0] == "=" else "## ") + found[1], text)
    return named[1].strip(" \"'") if named else _first_heading(text), text


def _first_heading(text: str) -> str:
    fenced = False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        if not fenced and re.match(r"#{1,6}\s+\S", line):
            return line.strip("# \t")
    return ""


def _empty(documents: Sequence[Document]) -> list[Finding]:
    empty = [one.id for one in documents if not one.text.strip()]
    if not empty:
        return []
    message = f"{len(empty):,} documents are empty and were left out. Fill them, or take them away."
    return [Finding("document-empty", "warning", message, tuple(empty[:NAMED]))]


def _same(documents: Sequence[Document]) -> list[Finding]:
    """Name documents whose text another one has word for word: which of them is gold is then a matter of luck."""
    first: dict[str, str] = {}
    again = [one.id for one in documents if first.setdefault(one.text, one.id) != one.id]
    if not again:
        return []
    message = (
        f"{len(again):,} documents repeat the text of another one. Keep one of each, or retrieval is judged unfairly."
    )
    return [Finding("document-repeated", "warning", message, tuple(again[:NAMED]))]
