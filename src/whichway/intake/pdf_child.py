"""The process in which one PDF is read: PDF on standard input, JSON on standard output, small limits, nothing of ours."""

# Run as `python -I pdf_child.py` by pdf.py. It imports nothing of whichway, so that what a hostile file can make it do is
# little: it may use this much memory and time, may write no file, and its parent reads nothing but the JSON.

from __future__ import annotations

import io
import json
import logging
import sys

MEMORY_BYTES = 1_000_000_000
CPU_SECONDS = 30
MAX_PAGES = 2_000
MAX_CHARACTERS = 5_000_000


def main() -> None:
    """Write {"problem"} or {"title", "pages": [text], "count"}; anything uncaught is the parent's 'damaged'."""
    _limit()
    logging.disable(logging.CRITICAL)
    try:
        said = _read(sys.stdin.buffer.read())
    except MemoryError:
        said = {"problem": "limit"}
    sys.stdout.buffer.write(json.dumps(said).encode())


def _read(data: bytes) -> dict[str, object]:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            return {"problem": "encrypted"}
        count = len(reader.pages)
    except DependencyError:  # AES, which needs a package that we do not bring
        return {"problem": "encrypted"}
    pages: list[str] = []
    for page in reader.pages[:MAX_PAGES]:
        pages.append(page.extract_text()[: MAX_CHARACTERS - sum(map(len, pages))])
    title = reader.metadata.title if reader.metadata else ""
    return {"title": str(title or ""), "pages": pages, "count": count}


def _limit() -> None:
    """Bound memory, processor time and files written, where the system can (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
