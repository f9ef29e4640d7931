"""PDF to text in a child process with limits, so that a broken or hostile file costs one document and no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from whichway.intake.finding import refuse

WALL_SECONDS = 60

_CHILD = Path(__file__).with_name("pdf_child.py")
# A hostile file sees no key of an endpoint: what the system's loader and a spawned interpreter may need, and nothing else.
_PASSED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG", "LC_ALL")
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_UNNAMED = re.compile(
    r"^\s*(?:untitled.*|microsoft word.*|slide 1|.*\.(?:docx?|indd|qxd|tex|dvi|pdf|pages))?\s*$", re.I
)
_PROBLEMS = {
    "encrypted": ("the PDF is encrypted.", "Save a copy without a password."),
    "limit": ("the PDF needs too much memory or time to read.", "Print it to a new PDF, or save its text as .txt."),
    "damaged": ("the PDF is damaged and cannot be read.", "Open it and save it anew, or save its text as .txt."),
    "scanned": ("the PDF holds pictures of text and no text.", "Run text recognition (OCR) over it first."),
}


def read_pdf(path: Path, data: bytes) -> tuple[str, str, str]:
    """Return (title, text, note) of a PDF; the title is empty where the file names none worth reading.

    Pages end with an empty line. The note says what is missing from the text, and is mostly empty. Raises DataError for a
    PDF that is encrypted, damaged, without text, or too much work.
    """
    said = _ask(data)
    problem = said.get("problem")
    pages = [_HYPHEN.sub("", str(page)).strip() for page in said.get("pages", ())]
    if not problem and not any(char.isalnum() for page in pages for char in page):
        problem = "scanned"
    if problem:
        raise refuse(path, *_PROBLEMS[problem])
    title = " ".join(str(said["title"]).split())
    return "" if _UNNAMED.match(title) else title, "\n\n".join(filter(None, pages)), _missing(pages, said["count"])


def _ask(data: bytes) -> dict[str, Any]:
    """Return what the child says; a child that fails or is killed makes the problem 'damaged' or 'limit'."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-I", str(_CHILD)],
            input=data,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
        )
    except subprocess.TimeoutExpired:
        return {"problem": "limit"}
    if done.returncode:
        return {"problem": "limit" if done.returncode < 0 or b"MemoryError" in done.stderr else "damaged"}
    try:
        said = json.loads(done.stdout)
    except ValueError:
        return {"problem": "damaged"}
    return dict(said)


def _missing(pages: list[str], count: int) -> str:
    empty = sum(not page for page in pages)
    if len(pages) < count:
        return f"only the first {len(pages):,} of {count:,} pages were read"
    return f"{empty:,} of {count:,} pages hold no text (pictures?)" if empty else ""
