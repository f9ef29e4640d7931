"""Numbers and foreign text as words: scores, intervals, money, time, and what may not reach a screen raw."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "-"
Named = Mapping[str, Any]
PRICED = {"input": "of input", "cached_input": "of cached input", "output": "of output"}

_NUMBER_DASH = re.compile(r"(?<=\d)-(?=\d)")
_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|MB|GB|rows/s)\b)")
_MINUS = re.compile(r"(?<![\w.-])-(?=[$\d.])")

# Marks that turn the direction of the text around them: they could make a label look like another one.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def score(value: Any, metric: Named | None = None) -> str:
    """Return a score: '0.873' where the metric lies in [0, 1], money per row for cost_matrix, else 3 digits."""
    known = number(value)
    if known is None:
        return MISSING
    if is_money(metric):
        return money(known)
    return three(known) if _is_wide(metric) else f"{known + 0.0:.3f}".replace("-0.000", "0.000")


def interval(found: Named | None, metric: Named | None = None) -> str:
    """Return '0.812-0.919', or 'a to b' where a hyphen could be read as a minus."""
    low, high = number((found or {}).get("low")), number((found or {}).get("high"))
    if low is None or high is None:
        return MISSING
    between = " to " if low < 0 or is_money(metric) else "-"
    return f"{score(low, metric)}{between}{score(high, metric)}"


def estimate(found: Named | None, metric: Named | None = None) -> str:
    """Return '0.873 (0.812-0.919)'; without the interval where there is none."""
    value = score((found or {}).get("value"), metric)
    around = interval(found, metric)
    return value if MISSING in (value, around) else f"{value} ({around})"


def difference(found: Named | None, metric: Named | None = None) -> str:
    """Return '+0.012 (-0.010 to +0.034)'."""
    value, low, high = (_signed((found or {}).get(part), metric) for part in ("value", "low", "high"))
    return value if MISSING in (value, low, high) else f"{value} ({low} to {high})"


def sample(found: Named | None) -> str:
    """Return 'n = 160', or nothing where it is unknown."""
    size = number((found or {}).get("n"))
    return "" if size is None else f"n = {count(size)}"


def money(value: Any) -> str:
    """Return US dollars: cents above one dollar, 3 significant digits below."""
    known = number(value)
    if known is None:
        return MISSING
    sign, size = ("-" if known < 0 else ""), abs(known)
    if size == 0:
        return "$0"
    if size < 1e-6:
        return f"{sign}<$0.000001"
    if size >= 99.995:
        return f"{sign}${float(f'{size:.3g}') if size >= 1000 else round(size):,.0f}"
    if size >= 0.995:
        return f"{sign}${size:.2f}"
    whole, _, digits = three(size).partition(".")
    return f"{sign}${whole}.{digits.ljust(2, '0')}"


def price(found: Named) -> str:
    """Return in a sentence what an endpoint's calls are priced at, and whose price that is."""
    parts = [f"${number(found.get(key)) or 0.0:g} {what}" for key, what in PRICED.items()]
    name = f"{visible(found.get('endpoint'))} ({cut(found.get('model'), 80)})"
    return f"{name}: {', '.join(parts)} per million tokens; {cut(found.get('said'), 200)}."


def duration(seconds: Any) -> str:
    """Return '430 ms', '12.3 s', '1 min 12 s', '2 h 5 min' or '3 d 4 h'."""
    known = number(seconds)
    if known is None:
        return MISSING
    if known < 59.95:
        return "0 s" if known <= 0 else latency(known * 1000)
    minutes, rest = divmod(round(known), 60)
    if minutes < 60:
        return _two(minutes, "min", rest, "s")
    hours, minutes = divmod(round(known / 60), 60)
    return _two(hours, "h", minutes, "min") if hours < 24 else _days(known)


def latency(milliseconds: Any) -> str:
    """Return '48.2 ms' or, from one second on, '1.24 s'."""
    known = number(milliseconds)
    if known is None:
        return MISSING
    return f"{three(known)} ms" if known < 999.5 else f"{three(known / 1000)} s"


def count(value: Any) -> str:
    """Return a whole number with thousands set apart."""
    known = number(value)
    return MISSING if known is None else f"{known:,.0f}"


def plural(value: int, one: str, many: str = "") -> str:
    """Return '1 row' or '12 rows'."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def percent(share: Any) -> str:
    """Return a share of one as '93%'; '>99%' and '<1%' where rounding would claim certainty."""
    known = number(share)
    if known is None:
        return MISSING
    if 0.99 < known < 1:
        return ">99%"
    return "<1%" if 0 < known < 0.01 else f"{known * 100:.0f}%"


def memory(megabytes: Any) -> str:
    """Return '430 MB' or '1.24 GB'."""
    known = number(megabytes)
    if known is None:
        return MISSING
    return f"{three(known)} MB" if known < 999.5 else f"{three(known / 1000)} GB"


def three(value: Any) -> str:
    """Return three significant digits, never in scientific notation, without zeros that say nothing."""
    known = number(value)
    if known is None:
        return MISSING
    if known == 0 or not 1e-9 < abs(known) < 1e15:
        return "0" if abs(known) < 1 else f"{known:.2e}"
    rounded = float(f"{known:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    shown = f"{rounded:,.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def number(value: Any) -> float | None:
    """Return a finite number, or None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        known = float(value)
    except OverflowError:
        return None
    return known if math.isfinite(known) else None


def visible(value: Any) -> str:
    """Return text on one line in which control and direction marks can be seen instead of obeyed."""
    text = value if isinstance(value, str) else _spoken(value)
    return "".join(_seen(char) for char in text.replace("\r\n", " "))


def cut(value: Any, longest: int) -> str:
    """Return visible text of at most `longest` characters; an ellipsis marks what was cut."""
    text = visible(value[: longest + 1] if isinstance(value, str) else value)
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def fine(number: str) -> str:
    """Set a number as a printer would: a real minus, an en dash between two numbers, no break before a unit."""
    if number == MISSING:
        return "\u2013"
    dashed = _MINUS.sub("\u2212", _NUMBER_DASH.sub("\u2013", number))
    return _UNIT.sub("\u00a0", dashed).replace("n = ", "n\u00a0=\u00a0")


def on_axis(values: Sequence[float], metric: Named | None = None) -> list[str]:
    """Return scores for the ticks of an axis: as few decimals as tell them apart, the same for all."""
    if is_money(metric):
        return [fine(money(value)) for value in values]
    decimals = next((size for size in range(7) if all(abs(value - round(value, size)) < 1e-9 for value in values)), 6)
    return [fine(f"{value + 0.0:,.{decimals}f}") for value in values]


def is_money(metric: Named | None) -> bool:
    """Say whether the metric's values are US dollars per row."""
    return (metric or {}).get("name") == "cost_matrix"


def _is_wide(metric: Named | None) -> bool:
    bounds = (metric or {}).get("bounds")
    return isinstance(bounds, (list, tuple)) and len(bounds) == 2 and tuple(bounds) != (0, 1)


def _signed(value: Any, metric: Named | None) -> str:
    known = number(value)
    shown = score(value, metric)
    return f"+{shown}" if known is not None and known > 0 and shown.strip("0.$") else shown


def _days(seconds: float) -> str:
    days, hours = divmod(round(seconds / 3600), 24)
    return _two(days, "d", hours, "h")


def _two(first: int, big: str, second: int, small: str) -> str:
    return f"{first:,} {big} {second} {small}" if second else f"{first:,} {big}"


def _spoken(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, (list, tuple)):
        return " | ".join(_spoken(part) for part in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_spoken(part)}" for key, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return three(value) if isinstance(value, float) else str(value)


def _seen(char: str) -> str:
    if char in "\n\r\t\u2028\u2029":
        return " "
    if unicodedata.category(char) in ("Cc", "Cs") or char in _TURNING:
        code = ord(char)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return char
