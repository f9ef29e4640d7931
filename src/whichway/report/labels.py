"""The section on labels: how trained ways grow, what more labels bring and cost, from how many on one passes another."""

from __future__ import annotations

from dataclasses import replace

from whichway.report import words
from whichway.report.reading import Report, Row, at, mapping, metric, rows, winner_name
from whichway.report.sections import Cell, Column, Section, Table, table

USUAL = ("finetune", "encoder")  # ways that tune the weights of a model, whatever the task has
TUNED = (*USUAL, "raft")  # raft and rag-finetune: with documents
HORIZON = 4  # times the labels at hand, up to which anything is foretold
UNPRICED = "What more labels cost is not known: set objective.label_usd in the task file."


def more_labels(report: Report) -> Section:
    """Return measured rungs, forecasts with 80 % intervals, what they cost, break-even labels, and who has no curve."""
    every, question = rows(report, "labels"), fine_tuning(report)
    told = [one for one in map(_sentence, every) if one]
    silent = [one for one in rows(report, "labels_missing") if one.get("strategy") not in _tuned(report)]
    items = [question, *told, *(f"{_missing(one)}." for one in silent)]
    found = Section("labels", "Would more labels help?", "", tuple(one for one in items if one))
    if not every:
        return found
    lead = (
        "Each way was trained on parts of the labels, too. What lies beyond is a forecast (an estimate) from two families of "
        "curves, its 80 % band widened by how far such forecasts missed on other data sets; up to four times the labels at hand."
    )
    return replace(found, lead=lead, tables=(*_gains(report), _measured(report)), is_plotted=True)


def fine_tuning(report: Report) -> str:
    """Say why it is not told from how many labels on fine-tuning wins, and what to run; nothing where it is told."""
    tuned, known = _tuned(report), {str(one.get("strategy")): one for one in rows(report, "labels")}
    if not rows(report, "trials"):
        return ""
    silent = [_missing(one) for one in rows(report, "labels_missing") if one.get("strategy") in tuned]
    silent += [
        f"{words.visible(name)} has nothing to be held against, as no way is recommended"
        for name in tuned
        if name in known and not mapping(known[name], "break_even") and name != winner_name(report)
    ]
    question = "How many more labels until fine-tuning wins is not known"
    if not tuned:
        return f"{question}, as {_absent(report)}."
    if not silent:
        return ""
    command = words.cut(at(report, "reproduce", "command") or "", 400)
    said = f"{question}{'' if len(silent) == len(tuned) else ' of all ways'}, as {'; '.join(silent)}."
    is_open = "--exhaustive" in said and command and "--exhaustive" not in command
    return f"{said} To find out: {command} --exhaustive" if is_open else said


def _absent(report: Report) -> str:
    """Say why nothing that fine-tunes took part."""
    skipped = [one for one in rows(report, "trials") if one.get("way") in USUAL]
    why = [
        f"{words.visible(one.get('strategy'))} was skipped ({words.cut(one.get('reason') or '', 200)})"
        for one in skipped
    ]
    return "; ".join(why) or f"no way that fine-tunes took part (run it with {' or '.join(USUAL)} among the ways)"


def price(gain: Row) -> tuple[str, str]:
    """Return US dollars per point of score gained, and their interval; nothing where a label has no price."""
    if words.number(gain.get("usd")) is None:
        return "", ""
    each = mapping(gain, "usd_per_point")
    if words.number(each.get("value")) is None:
        return "no gain to be expected", ""
    high = words.number(each.get("high"))
    upto = f"to {words.money(high)}" if high is not None else "or more"
    return words.money(each.get("value")), f"{words.money(each.get('low'))} {upto}"


def between(gain: Row) -> str:
    """Return '-0.010 to +0.034'."""
    low, high = (round(words.number(gain.get(end)) or 0.0, 3) + 0.0 for end in ("low", "high"))
    return f"{low:+.3f} to {high:+.3f}"


def _tuned(report: Report) -> list[str]:
    """Return the ways that fine-tune and took part."""
    return [str(one.get("strategy")) for one in rows(report, "trials")
            if one.get("way") in TUNED and one.get("state") != "skipped"]  # fmt: skip


def _missing(one: Row) -> str:
    return f"{words.visible(one.get('strategy'))} has no label curve: {words.cut(one.get('reason') or 'not measured', 300)}"


def _sentence(one: Row) -> str:
    """Say from how many labels on a way passes its reference."""
    even, name = mapping(one, "break_even"), words.visible(one.get("strategy"))
    against = words.visible(even.get("against") or "")
    median, never = words.number(even.get("median")), words.number(even.get("never"))
    if not against or never is None:
        return ""
    points = [words.number(rung.get("labels")) or 0.0 for rung in rows(one, "rungs")]
    first, far = min(points, default=0.0), HORIZON * max(points, default=0.0)
    if median is None or median > far:
        beyond = f"({HORIZON} times the labels at hand; farther is not foretold)"
        return f"{name} needs more than {words.count(far)} labels to pass {against} as it is now {beyond}."
    if median < first:
        return f"{name} passes {against} as it is now from {words.count(first)} labels on, or fewer."
    low, high = even.get("low"), words.number(even.get("high"))
    upto = f"to {words.count(high)}" if high is not None and high <= far else f"to more than {words.count(far)}"
    said = f"{name} passes {against} as it is now from about {words.count(median)} labels on (80 %: {words.count(low)} {upto})"
    return f"{said}; the labels at hand are enough with probability {words.number(even.get('available')) or 0.0:.0%}."


def _gains(report: Report) -> list[Table]:
    """Return what more labels bring, and beside it what a point of score then costs, where labels have a price."""
    every = rows(report, "labels")
    gains = rows(every[0], "gains")
    heads = [Column(f"{words.count(gain.get('more'))} more", True, _bill(gain)) for gain in gains]
    lines, prices = [], []
    for one in every:
        name, own = Cell(words.visible(one.get("strategy"))), rows(one, "gains")
        change = [words.difference({**gain, "n": None}, metric(report)).partition(" ")[0] for gain in own]
        lines.append((name, *(Cell(said, between(gain)) for said, gain in zip(change, own, strict=True))))
        prices.append((name, *(Cell(*price(gain)) for gain in own)))
    found = table("What more labels would bring (forecast)", (Column("gain by way", False), *heads), lines)
    if not any(one.small for one in heads):
        return [replace(found, note=UNPRICED)]
    columns = (Column("dollars per point by way", False), *heads)
    return [found, table("What a point (0.01) of score gained costs in labels (forecast)", columns, prices)]


def _bill(gain: Row) -> str:
    return f"for {words.money(gain.get('usd'))}" if words.number(gain.get("usd")) is not None else ""


def _measured(report: Report) -> Table:
    every, known = rows(report, "labels"), metric(report)
    sizes = sorted({int(words.number(rung.get("labels")) or 0) for one in every for rung in rows(one, "rungs")})
    lines = []
    for one in every:
        at = {int(words.number(rung.get("labels")) or 0): rung for rung in rows(one, "rungs")}
        lines.append((Cell(words.visible(one.get("strategy"))), *(_scored(at.get(size, {}), known) for size in sizes)))
    columns = (Column("way", False), *(Column(f"{words.count(size)} labels") for size in sizes))
    return table("Measured on validation rows, one draw per size", columns, lines)


def _scored(rung: Row, known: Row) -> Cell:
    if words.number(rung.get("value")) is None:
        return Cell(words.MISSING)
    return Cell(
        words.score(rung.get("value"), known), f"{words.score(rung.get('low'))} to {words.score(rung.get('high'))}"
    )
