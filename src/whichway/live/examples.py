"""The bundled examples, found beside the project or inside the installed package."""

from __future__ import annotations

from pathlib import Path

import whichway
from whichway.errors import UsageError


def example_task(name: str) -> Path:
    """Return the task file of an example; raises UsageError naming those there are."""
    for folder in _places():
        if (folder / name / "task.yaml").is_file() and Path(name).name == name:
            return folder / name / "task.yaml"
    known = sorted({path.parent.name for folder in _places() for path in folder.glob("*/task.yaml")})
    raise UsageError(f"There is no example called {name!r}.", f"There are: {', '.join(known) or 'none'}.")


def _places() -> list[Path]:
    package = Path(whichway.__file__).parent
    return [package / "examples", package.parent.parent / "examples"]
