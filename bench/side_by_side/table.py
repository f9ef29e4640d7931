"""What was measured, as numbers of one side, as a note on unequal quality, and as a table in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

COLUMNS = ["measure", "side", "rows/s", "ratio", "quality", "spread", "of the roof", "peak MB", "others' CPU"]
COLUMNS += ["rows", "turns", "date"]


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one side's numbers over its turns."""
    seconds = [one["seconds"] for one in runs]
    middle = statistics.median(seconds)
    return {
        "rows": runs[0]["rows"],
        "turns": len(runs),
        "seconds": [round(one, 3) for one in seconds],
        "rows_per_s": round(runs[0]["rows"] / middle, 2),
        "spread": round((max(seconds) - min(seconds)) / middle, 3),
        "quality": round(statistics.mean(one["quality"] for one in runs), 4),
        "peak_mb": max(one["peak_mb"] for one in runs),
        "foreign": max(one["foreign"] for one in runs),
        "flops_per_s": round(runs[0]["flops"] / middle) if "flops" in runs[0] else None,
    }


def unequal(ours: list[float], theirs: list[float]) -> dict[str, float] | None:
    """Return by how much our quality differs from theirs, item by item, where that is more than chance (Student's t, p < .05)."""
    from scipy.stats import t

    if len(ours) != len(theirs) or len(ours) < 2:
        return None
    apart = [a - b for a, b in zip(ours, theirs, strict=True)]
    by, error = statistics.mean(apart), statistics.stdev(apart) / len(apart) ** 0.5
    chance = float(t.ppf(0.975, len(apart) - 1)) * error
    return {"by": round(by, 4), "chance": round(chance, 4), "n": len(apart)} if abs(by) > chance else None


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    measures = found["measures"]
    machines = " / ".join(dict.fromkeys(_machine(one) for one in measures.values()))
    lines = [
        "# Speed, side by side",
        "",
        f"`make bench`, on {machines}. Ratio: the others' median seconds per row over whichway's.",
        "Quality: accuracy, or the mean log-likelihood of a token; higher is better.",
        "A measure stands with the date of its own run; numbers of one measure come from one run, its sides in turns.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for name, one in measures.items():
        lines += [_row(name, side, of, one) for side, of in one["sides"].items()]
    notes = [_note(name, side, of) for name, one in measures.items() for side, of in one["sides"].items()]
    said = [note for note in notes if note]
    return "\n".join([*lines, *(["", *said] if said else [])]) + "\n"


def _machine(measure: dict[str, Any]) -> str:
    return f"{measure['machine']}, products in {measure.get('format', 'bf16')}"


def _row(name: str, side: str, of: dict[str, Any], measure: dict[str, Any]) -> str:
    if "seconds" not in of:
        return (
            f"| {name} | {side} | failed: {_one_line(of['failed'])} "
            + "| " * (len(COLUMNS) - 4)
            + f"| {measure['date']} |"
        )
    ours, roof = next(iter(measure["sides"].values())), measure["peak_flops_per_s"]
    ratio = f"{ours['rows_per_s'] / of['rows_per_s']:.2f}" if "seconds" in ours else ""
    share = f"{100 * of['flops_per_s'] / roof:.0f} %" if of["flops_per_s"] and roof else ""
    spread = f"{100 * of['spread']:.0f} %" if of["turns"] > 1 else ""
    cells = [name, side, f"{of['rows_per_s']:.1f}", ratio, f"{of['quality']:.3f}", spread, share, str(of["peak_mb"])]
    cells += [f"{100 * of['foreign']:.0f} %", str(of["rows"]), str(of["turns"]), measure["date"]]
    return "| " + " | ".join(cells) + " |"


def _note(name: str, side: str, of: dict[str, Any]) -> str:
    """Return what must be known to read a row: that its quality is another one, or that a later turn failed."""
    if apart := of.get("unequal"):
        more = "higher" if apart["by"] > 0 else "lower"
        return (
            f"* {name}: the quality of whichway's side is **{more}** than that of {side} by {abs(apart['by']):.3f}, "
            f"more than chance gives (± {apart['chance']:.3f}, n = {apart['n']}, item by item)."
        )
    if "seconds" in of and "failed" in of:
        return f"* {name}, {side}: a later turn failed: {_one_line(of['failed'])}."
    return ""


def _one_line(text: str) -> str:
    """Return the last line of an error, as one cell of a table can show it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return lines[-1].replace("|", "/")[:200]
