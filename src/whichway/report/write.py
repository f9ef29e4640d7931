"""Write a study's report.json, report.md and report.html, each whole or not at all, and read it back."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from whichway.errors import UsageError
from whichway.report.reading import Report, tidy

SCHEMA = 1
NAMES = {"json": "report.json", "md": "report.md", "html": "report.html"}


def write_report(report: Report, folder: Path) -> None:
    """Write the three files into the folder, which is made if it is missing; report.json comes first."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plain = tidy(report)
    for format, name in NAMES.items():
        _write_whole(folder / name, _render_plain(plain, format))


def read_report(folder: Path) -> dict[str, Any]:
    """Return the report of a run's folder; raises UsageError where there is none that can be read."""
    path = Path(folder) / NAMES["json"]
    fix = "Name the folder of a run, or make one: whichway run task.yaml"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder}: there is no {NAMES['json']} in it.", fix) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", fix) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no report: it holds a {type(found).__name__}, not an object.", fix)
    if isinstance(found.get("schema"), int) and found["schema"] > SCHEMA:
        newer = f"{path} was written by a newer whichway (schema {found['schema']}, this one reads {SCHEMA})."
        raise UsageError(newer, "Update whichway.")
    return found


def render(report: Report, format: str) -> str:
    """Return the report as 'html', 'md' or 'json' text."""
    if format not in NAMES:
        raise UsageError(f"There is no report format {format!r}.", f"Known: {', '.join(sorted(NAMES))}.")
    return _render_plain(tidy(report), format)


def _render_plain(plain: Report, format: str) -> str:
    if format == "json":
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if format == "md":
        from whichway.report.markdown import render_markdown

        return render_markdown(plain)
    from whichway.report.page import (
        render_page,  # jinja2 is heavy, and `report --format json` needs none of it
    )

    return render_page(plain)


def _write_whole(path: Path, text: str) -> None:
    """Write beside the file, flush to the disk, then rename: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp makes it readable by nobody else, as no other file of the run is
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
