"""Solutions on disk: JSON for settings, safetensors for arrays, never pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from whichway.errors import WhichwayError


def save_json(path: Path, value: Any) -> None:
    """Write plain data; equal data give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, sort_keys=True), encoding="utf-8")


def load_json(path: Path) -> Any:
    """Read what `save_json` wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WhichwayError(f"A part of the saved solution cannot be read: {path}", "Run the study again.") from error


def apart(folder: Path, *said: Any) -> Path:
    """Return a folder named after all that is said: what a killed fit left there under other settings is passed over."""
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, default=str)
    return folder / hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write numpy arrays by name."""
    import numpy as np
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def load_arrays(path: Path) -> dict[str, Any]:
    """Read what `save_arrays` wrote."""
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except Exception as error:
        raise WhichwayError(f"A part of the saved solution cannot be read: {path}", "Run the study again.") from error
