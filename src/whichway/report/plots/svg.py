"""The few things every plot is drawn with: elements, text, scales, ticks. Colours are classes of report.css."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDE, NARROW = 960, 360  # a page and a phone; text is drawn at its real size on both

# Widths of letters in units of the font size; generous, as the reader's font is unknown.
_THIN, _BROAD = frozenset("ijlI.,:;'|!()[]tfr "), frozenset("mwMW@%+=<>")

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Box:
    """A rectangle, to tell whether two things would overlap."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Say whether the two overlap."""
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)

    def lies_in(self, other: Box) -> bool:
        """Say whether this one is wholly inside the other one."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom


def tag(name: str, *children: str, **attributes: Any) -> str:
    """Return one element. `css` becomes class; underscores become hyphens; children are markup already."""
    named = {("class" if key == "css" else key.replace("_", "-")): value for key, value in attributes.items()}
    shown = "".join(f' {key}="{_attribute(value)}"' for key, value in named.items() if value not in ("", None))
    return f"<{name}{shown}>{''.join(children)}</{name}>" if children else f"<{name}{shown}/>"


def text(x: float, y: float, said: str, css: str = "t", anchor: str = "start", **more: Any) -> str:
    """Return text as text; what is said is escaped."""
    return tag("text", escape(said), x=x, y=y, css=css, text_anchor=anchor if anchor != "start" else "", **more)


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, css=css)


def drawing(size: tuple[float, float], key: str, said: tuple[str, str], *parts: str) -> str:
    """Return a whole drawing with its title and description for screen readers."""
    width, height = size
    named = f"{key}-title {key}-about"
    head = (tag("title", escape(said[0]), id=f"{key}-title"), tag("desc", escape(said[1]), id=f"{key}-about"))
    view = f"0 0 {_number(width)} {_number(height)}"
    return tag("svg", *head, *parts, viewBox=view, width=width, height=height, role="img", aria_labelledby=named)


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return a function from [low, high] to [start, end]; what lies outside is held at the edge."""
    span = (high - low) or 1.0
    return lambda value: start + (min(max(value, low), high) - low) / span * (end - start)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers in [low, high], at most `most` + 1 of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [one * step for one in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return 1, 2, 5 times powers of ten in [low, high]; powers of ten alone where that would be too many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    fine = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    inside = [one for one in fine if low <= one <= high]
    if len(inside) <= most:
        return inside
    tens = [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]
    return tens[:: max(1, math.ceil(len(tens) / most))]


def width_of(said: str, size: float) -> float:
    """Return about how wide a text is, rather too wide than too narrow."""
    return sum(_letter(char) for char in said) * size


def fitted(said: str, size: float, room: float) -> str:
    """Return the text, cut with an ellipsis where it would be wider than the room."""
    if width_of(said, size) <= room:
        return said
    kept = said
    while kept and width_of(kept + "…", size) > room:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def legend(x: float, y: float, room: float, entries: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """Return (markup, height) of swatches with their meaning, wrapped to the room; an entry is (class, meaning)."""
    parts, left, top = [], x, y
    for css, said in entries:
        wide = 20 + width_of(said, 12.5) + 14
        if left > x and left + wide > x + room:
            left, top = x, top + 20
        parts.append(
            tag("rect", x=left, y=top - 9, width=12, height=10, rx=2, css=css) + text(left + 18, top, said, "t s")
        )
        left += wide
    return "".join(parts), top - y + 20


def _letter(char: str) -> float:
    if char in _THIN:
        return 0.38
    if char in _BROAD:
        return 0.92
    return 1.1 if ord(char) > 0x2E80 else 0.7 if char.isupper() else 0.61


def _attribute(value: Any) -> str:
    return _number(value) if isinstance(value, (int, float)) else escape(str(value))


def _number(value: float) -> str:
    """Return a coordinate; one that is not finite is a mistake of ours, and may never reach a page."""
    assert math.isfinite(value), "a plot got a coordinate that is not a number"
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )
