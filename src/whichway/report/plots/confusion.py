"""The confusion matrix of the recommended strategy, for at most twenty labels."""

from __future__ import annotations

from collections import defaultdict

from whichway.report import words
from whichway.report.plots.svg import drawing, fitted, tag, text, width_of
from whichway.report.reading import Report, at, rows, things, winner_name

MOST = 20
NONE = "(no answer)"
SLANT = 0.79  # of a slanted name's length that it takes to the right


def draw_confusion(report: Report) -> str:
    """Return the matrix, or nothing: too many labels, several labels per row, or no confusions known."""
    labels = [str(one) for one in things(report, "task", "output", "labels")]
    name, counts = winner_name(report), _counts(report)
    if not name or not 2 <= len(labels) <= MOST or at(report, "task", "output", "multi") or not counts:
        return ""
    across = [*labels, NONE] if any(answered == NONE for _, answered in counts) else labels
    cell = 46 if len(across) <= 10 else 34
    room = min(190.0, max(width_of(words.visible(one), 12.5) for one in across) + 6)
    left, top = room + 10, room * 0.64 + 24
    width, height = (left + cell * (len(across) - 0.5) + max(cell / 2, SLANT * room + 8), top + cell * len(labels) + 26)
    parts = [_head(across, left, top, cell, room)]
    for i, true in enumerate(labels):
        y = top + i * cell
        total = sum(counts.get((true, answered), 0.0) for answered in across)
        parts.append(text(left - 8, y + cell / 2 + 4.5, fitted(words.visible(true), 12.5, room), "t s", "end"))
        for j, answered in enumerate(across):
            parts.append(_cell(left + j * cell, y, cell, counts.get((true, answered), 0.0), total, true == answered))
    parts.append(text(left, height - 6, "rows: right answer; columns: answered", "t s m"))
    wrong = sorted(((n, pair) for pair, n in counts.items() if pair[0] != pair[1]), key=lambda one: -one[0])
    about = "; ".join(
        f"{words.visible(true)} taken for {words.visible(said)} {words.count(n)} times"
        for n, (true, said) in wrong[:10]
    )
    return drawing((width, height), "confusion", (f"Confusion matrix of {words.visible(name)}", about), *parts)


def _counts(report: Report) -> dict[tuple[str, str], float]:
    """Return how often each label was answered for each; right answers are what is left of a label's rows."""
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for one in rows(report, "confusions"):
        size = words.number(one.get("n"))
        if one.get("strategy") == winner_name(report) and size is not None:
            answered = NONE if one.get("answered") is None else str(one.get("answered"))
            counts[str(one.get("true")), answered] += size
    if not counts:
        return {}
    for one in rows(report, "per_class"):
        label, size = str(one.get("label")), words.number(one.get("n"))
        if size is not None and (label, label) not in counts:
            wrong = sum(n for (true, _), n in counts.items() if true == label)
            counts[label, label] = max(0.0, size - wrong)
    return dict(counts)


def _head(across: list[str], left: float, top: float, cell: float, room: float) -> str:
    parts = []
    for j, label in enumerate(across):
        x, y = left + (j + 0.5) * cell, top - 8
        said = fitted(words.visible(label), 12.5, room)
        parts.append(text(x, y, said, "t s", transform=f"rotate(-38 {x:.1f} {y:.1f})"))
    return "".join(parts)


def _cell(x: float, y: float, size: float, n: float, total: float, is_right: bool) -> str:
    share = n / total if total else 0.0
    css = "f-right" if is_right else "f-wrong"
    parts = [tag("rect", x=x + 1, y=y + 1, width=size - 2, height=size - 2, rx=3, css="f-cell")]
    if n > 0:
        strength = 0.12 + 0.58 * (share if is_right else min(1.0, 2 * share))
        parts.append(
            tag(
                "rect", x=x + 1, y=y + 1, width=size - 2, height=size - 2, rx=3, css=css, fill_opacity=f"{strength:.2f}"
            )
        )
        parts.append(text(x + size / 2, y + size / 2 + 4.5, words.count(n), "t s n", "middle"))
    return "".join(parts)
