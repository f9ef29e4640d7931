"""The versions of this package and of those whose numbers it rests on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

NAMED_PACKAGES = (
    "whichway",
    "torch",
    "transformers",
    "peft",
    "trl",
    "sentence-transformers",
    "openvino-genai",
    "scikit-learn",
    "numpy",
)


def versions() -> dict[str, str]:
    """Return the version of Python and of each named package that is installed."""
    found = {name: version_of(name) for name in NAMED_PACKAGES}
    return {"python": platform.python_version(), **{name: one for name, one in found.items() if one}}


def version_of(package: str) -> str:
    """Return a package's version; '' where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
