"""Names beside points, placed so that no name covers a point or another name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whichway.report.plots.svg import Box, fitted, line, text, width_of

STEPS = ((10, 5), (16, 14), (26, 24), (40, 36), (58, 52), (80, 70))  # how far a name may stand from its point


@dataclass(frozen=True)
class Named:
    """A point and its name; those that matter most are named first."""

    x: float
    y: float
    name: str
    css: str = ""
    matters: int = 0


def draw_names(points: Sequence[Named], area: Box, lines: Sequence[Box]) -> list[str]:
    """Return the names; `lines` are covered only where a name has no other room close to its point.

    A name without any room is left out: the table has it, and a name on top of another helps nobody.
    """
    ground = [Box(one.x - 6, one.y - 6, one.x + 6, one.y + 6) for one in points]
    parts = []
    for point in sorted(points, key=lambda one: -one.matters):
        said = fitted(point.name, 12.5, 150)
        wide = width_of(said, 12.5) * (1.08 if point.css else 1)  # a name with a class is bold
        found = _place(point, wide, [*ground, *lines], area, 2) or _place(point, wide, ground, area, len(STEPS))
        if found is None:
            continue
        box, is_far = found
        ground.append(box)
        if is_far:
            nearest = min(max(point.x, box.left), box.right)
            parts.append(line(point.x, point.y, nearest, (box.top + box.bottom) / 2, "tie"))
        parts.append(text(box.left, box.bottom - 4, said, f"t s halo {point.css}".strip()))
    return parts


def _place(point: Named, wide: float, ground: Sequence[Box], area: Box, most: int) -> tuple[Box, bool] | None:
    for i, (dx, dy) in enumerate(STEPS[:most]):
        for left, top in _spots(point, wide, dx, dy if i else 0):
            box = Box(left, top, left + wide, top + 16)
            if box.lies_in(area) and not any(box.meets(other) for other in ground):
                return box, i > 1
    return None


def _spots(point: Named, wide: float, dx: float, dy: float) -> list[tuple[float, float]]:
    """Return where to try: right, left, then above and below, then the middle of both."""
    beside = (point.x + dx, point.x - dx - wide)
    level = [(left, point.y - 8) for left in beside] if not dy else []
    slant = [(left, point.y + sign * (dy or 12) - 8) for sign in (-1, 1) for left in beside]
    middle = [(point.x - wide / 2, point.y + sign * (dy or 16) - 8) for sign in (-1, 1)]
    return [*level, *slant, *middle]
