"""Why a run recommends what it does, and what it would recommend under other conditions: from what is measured alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.errors import UsageError
from whichway.study.conditions import parse_condition
from whichway.study.decision import Redecided, read_decision, redecide


@dataclass(frozen=True)
class Explanation:
    """The verdict as it stands, and under the conditions asked for (the same where none are)."""

    now: Redecided
    then: Redecided
    conditions: tuple[str, ...]


def explain(folder: Path, conditions: Sequence[str]) -> Explanation:
    """Decide again from a run folder; raises UsageError for a folder without a decision or a condition that is none."""
    said = [parse_condition(one) for one in conditions]
    twice = [name for i, (name, _) in enumerate(said) if name in dict(said[:i])]
    if twice:
        raise UsageError(f"{twice[0]} is given twice.", "Give each condition once.")
    kept = read_decision(Path(folder))
    return Explanation(
        redecide(kept, {}), redecide(kept, dict(said)), tuple(f"{name} = {_shown(value)}" for name, value in said)
    )


def _shown(value: Any) -> str:
    return f"{value:,.10g}" if isinstance(value, float) else "none" if value is None else str(value)
