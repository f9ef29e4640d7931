"""Rewrites the tree of files between the marks in README.md from the first line of each file's docstring."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree -->", "<!-- /tree -->"


def first_line(file: Path) -> str:
    """Return the first line of a file's docstring, or an empty string."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]


def tree(home: Path = HOME) -> str:
    """Return every source file below src/whichway with its purpose, rooms after files, in a code block."""
    lines = ["src/whichway/"]
    _list(home / "src" / "whichway", 0, lines)
    return "```text\n" + "\n".join(lines) + "\n```"


def rewritten(page: str, home: Path = HOME) -> str:
    """Return a page with its tree brought up to date; raises ValueError where the marks are missing."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"The page needs {BEGIN} and {END}, once each.")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{tree(home)}\n{END}{rest.split(END)[1]}"


def _list(folder: Path, depth: int, lines: list[str]) -> None:
    indent = "    " * depth
    for file in sorted(folder.glob("*.py")):
        if depth == 0 or file.name != "__init__.py":
            lines.append(f"    {indent + file.name:<26} {first_line(file)}")
    for room in sorted(one for one in folder.iterdir() if (one / "__init__.py").is_file()):
        lines.append(f"    {indent + room.name + '/':<26} {first_line(room / '__init__.py')}")
        _list(room, depth + 1, lines)


if __name__ == "__main__":
    target = HOME / "README.md"
    old = target.read_text(encoding="utf-8")
    new = rewritten(old)
    target.write_text(new, encoding="utf-8")
    sys.stdout.write("README.md: the tree was up to date\n" if new == old else "README.md: the tree was rewritten\n")
