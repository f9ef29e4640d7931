"""What was trained before is not trained again: found by all that decides how a training goes, as a copy of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichway.core.strategy import ONWARD, Kit
from whichway.models import hardware
from whichway.models.checkpoint import identity
from whichway.models.weights import weights_digest


def content_of(rows: Any, plan: Mapping[str, Any], where: str, kit: Kit) -> str:
    """Return a hash of a training that is to be kept or found; '' where none is, or where base weights cannot be told.

    A name on a hub may stand for other weights tomorrow: only a folder tells what is in it.
    """
    if kit.trainings is None or not Path(where).is_dir():
        return ""
    return identity([rows, weights_digest(Path(where)), hardware.device_name()], plan, where, kit.seed)


def taken(content: str, folder: Path, kit: Kit) -> Mapping[str, Any] | None:
    """Put the weights of a training that has ended into `folder` and return what was said of it; None where there is none.

    To a step belongs what a training on more rows needs to go on from: without that it is not found.
    """
    return kit.trainings.take(content, _places(folder, kit)) if content and kit.trainings else None


def keep(content: str, folder: Path, said: Mapping[str, Any], kit: Kit) -> None:
    """Keep a training that has ended for whoever asks for the same."""
    if content and kit.trainings:
        places = {name: place for name, place in _places(folder, kit).items() if place.is_dir()}
        kit.trainings.keep(content, places, said)


def _places(folder: Path, kit: Kit) -> dict[str, Path]:
    return {"weights": folder, **({ONWARD: kit.folder / ONWARD} if kit.is_step else {})}
