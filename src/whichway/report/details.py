"""The sections for engineers: labels, confusions, disagreements, calibration, spend, data, threats, how to repeat it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from whichway.report import words
from whichway.report.plots.calibration import share_interval
from whichway.report.reading import Report, Row, at, mapping, metric, metric_name, rows, things, winner_name
from whichway.report.sections import Cell, Column, Section, scores, skipped, table, ways, worth, would_change

PHASES = ("fit", "validation", "latency", "consistency", "refit", "test")
MOST_ROWS = 60  # of disagreements and confusions: they are read one by one


def sections(report: Report) -> tuple[Section, ...]:
    """Return everything below the verdict, in order, without sections that have nothing to say."""
    makers = (scores, ways, worth, classes, confusions, disagreements, would_change, calibration, spend,
              asked, data, threats, skipped, repeat)  # fmt: skip
    found = [make(report) for make in makers]
    return tuple(one for one in found if one.lead or one.items or one.tables or one.code)


def classes(report: Report) -> Section:
    """Return precision, recall and F1 per label, the weakest label of the recommended strategy first."""
    every = rows(report, "per_class")
    names = _names(every, "scores")
    main = winner_name(report) if winner_name(report) in names else (names[0] if names else "")
    every = sorted(every, key=lambda one: _least(at(one, "scores", str(main), "f1")))
    lines = [
        (
            Cell(words.cut(one.get("label"), 80)),
            Cell(words.count(one.get("n"))),
            *(_class_cell(one, name) for name in names),
        )
        for one in every
    ]
    columns = (Column("label", False), Column("rows"), *(Column(words.visible(name)) for name in names))
    lead = "F1 per label, the weakest first; below it precision (P) and recall (R) with its 95% interval from the rows of that label."
    return Section(
        "classes",
        "Label by label",
        lead if lines else "",
        (),
        (table("F1 per label", columns, lines),) if lines else (),
    )


def confusions(report: Report) -> Section:
    """Return which labels are taken for which, the most frequent first."""
    name = winner_name(report)
    every = [one for one in rows(report, "confusions") if one.get("true") != one.get("answered")]
    own = [one for one in every if one.get("strategy") == name] or every
    own.sort(key=lambda one: -(words.number(one.get("n")) or 0))
    lines = [(Cell(words.visible(one.get("strategy"))), Cell(words.cut(one.get("true"), 80)),
              Cell(words.cut(one.get("answered"), 80)), Cell(words.count(one.get("n")))) for one in own]  # fmt: skip
    columns = (Column("way", False), Column("right answer", False), Column("answered", False), Column("rows"))
    lead = f"Where {words.visible(name)} goes wrong." if name and lines else ""
    shown = (_few("Most frequent confusions", columns, lines),) if lines else ()
    return Section("confusions", "What is taken for what", lead, (), shown, is_plotted=True)


def disagreements(report: Report) -> Section:
    """Return rows that finalists answer differently."""
    every = rows(report, "disagreements")
    names = _names(every, "answers")
    lines = [
        (Cell(words.cut(one.get("text"), 400), words.cut(one.get("id"), 60)), Cell(words.cut(one.get("true"), 80)),
         *(_answer(mapping(one, "answers", name), one.get("true")) for name in names))
        for one in every
    ]  # fmt: skip
    columns = (
        Column("row", False),
        Column("right answer", False),
        *(Column(words.visible(name), False) for name in names),
    )
    lead = "Rows on which the finalists disagree: read a few to see what a higher score buys. ✓ marks a right answer."
    shown = (_few("Answers of the finalists", columns, lines),) if lines else ()
    return Section("disagreements", "Rows where finalists disagree", lead if lines else "", (), shown)


def calibration(report: Report) -> Section:
    """Return how often answers are right at each stated confidence."""
    lines = []
    for name, bins in mapping(report, "calibration").items():
        for one in [one for one in bins or () if isinstance(one, dict)]:
            low, high = share_interval(one.get("accuracy"), one.get("n"))
            right = Cell(
                words.score(one.get("accuracy")), words.interval({"low": low, "high": high}).replace(words.MISSING, "")
            )
            span = words.interval({"low": one.get("low"), "high": one.get("high")})
            lines.append((Cell(words.visible(name)), Cell(span), Cell(words.count(one.get("n"))),
                          Cell(words.score(one.get("confidence"))), right))  # fmt: skip
    columns = (
        Column("way", False),
        Column("confidence from-to"),
        Column("rows"),
        Column("mean confidence"),
        Column("right"),
    )
    lead = "A point on the diagonal means: of the answers given with 80% confidence, 80% are right. Above it, a way is too modest; below it, too sure."
    shown = (table("Stated confidence and share of right answers", columns, lines),) if lines else ()
    return Section("calibration", "Can its confidence be trusted?", lead if lines else "", (), shown, is_plotted=True)


def spend(report: Report) -> Section:
    """Return what the study itself cost, by strategy and phase."""
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0, 0.0]))
    for one in rows(report, "spend_by"):
        for i, unit in enumerate(("seconds", "usd", "tokens")):
            sums[str(one.get("strategy"))][str(one.get("phase"))][i] += words.number(one.get(unit)) or 0.0
    ordered = sorted(sums.items(), key=lambda item: -sum(phase[0] for phase in item[1].values()))
    known = [one for one in PHASES if any(one in phases for phases in sums.values())]
    known += sorted({phase for phases in sums.values() for phase in phases} - set(PHASES))
    lines = [(Cell(words.visible(name)), *(_spent(phases.get(phase)) for phase in known),
              _spent([sum(part) for part in zip(*phases.values(), strict=True)])) for name, phases in ordered]  # fmt: skip
    columns = (Column("way", False), *(Column(words.visible(one)) for one in known), Column("together"))
    total = mapping(report, "spent")
    lead = "" if not total else (
        f"This study took {words.duration(total.get('seconds'))}, {words.money(total.get('usd'))} "
        f"and {words.count(total.get('tokens') or 0)} tokens."
    )  # fmt: skip
    shown = (table("Spend by way and phase", columns, lines),) if lines else ()
    return Section("spend", "What the study cost", lead, (), shown, is_plotted=True)


def asked(report: Report) -> Section:
    """Return the task as it was understood: instruction, parts, requirements, objective."""
    task, split = mapping(report, "task"), mapping(report, "split")
    labels = things(task, "output", "labels")
    several = " (several per row)" if at(task, "output", "multi") else ""
    facts = [
        ("instruction", words.cut(task.get("instruction") or "", 1200)),
        (
            "fields",
            ", ".join(
                f"{words.visible(one.get('name'))} ({words.visible(one.get('kind'))})" for one in rows(task, "fields")
            ),
        ),
        (
            "labels",
            f"{words.count(len(labels))}{several}: {words.cut(', '.join(map(words.visible, labels)), 600)}"
            if labels
            else "",
        ),
        ("metric", _with_settings(metric_name(report), mapping(metric(report), "settings"))),
        ("split", _split(split)),
        ("requirements", _settings(mapping(task, "constraints"))),
        ("objective", _settings(mapping(task, "objective"))),
    ]
    lines = [(Cell(name), Cell(said)) for name, said in facts if said]
    columns = (Column("what", False), Column("as understood", False))
    return Section("asked", "What was asked", "", (), (table("The task", columns, lines),) if task and lines else ())


def data(report: Report) -> Section:
    """Return what was noticed about the data, warnings first."""
    order = {"error": 0, "warning": 1, "info": 2}
    every = sorted(rows(report, "data", "findings"), key=lambda one: order.get(str(one.get("severity")), 3))
    lines = [(Cell(words.visible(one.get("severity"))), Cell(words.cut(one.get("message") or "", 800), words.visible(one.get("code") or "")))
             for one in every]  # fmt: skip
    shown = (table("Findings", (Column("severity", False), Column("finding", False)), lines),) if lines else ()
    size = words.number(at(report, "data", "rows"))
    lead = (
        f"{words.plural(int(size), 'row')} checked; {words.plural(len(lines), 'finding')}." if size is not None else ""
    )
    return Section("data", "What was noticed about the data", lead, (), shown)


def threats(report: Report) -> Section:
    """Return what could make these numbers mislead."""
    return Section(
        "threats", "Threats to validity", "", tuple(words.cut(one, 800) for one in things(report, "threats") if one)
    )


def repeat(report: Report) -> Section:
    """Return the command that reproduces the study, with versions and fingerprints."""
    machine = mapping(report, "timing", "machine")
    facts = {
        "seed": words.visible(at(report, "reproduce", "seed")),
        "task fingerprint": words.visible(at(report, "task", "fingerprint")),
        "split fingerprint": words.visible(at(report, "split", "fingerprint")),
        **{
            words.visible(name): words.cut(version, 200)
            for name, version in mapping(report, "reproduce", "versions").items()
        },
        "started": words.visible(at(report, "timing", "started")),
        "finished": words.visible(at(report, "timing", "finished")),
        "machine": ", ".join(_machine(machine)) or words.MISSING,
    }
    lines = [(Cell(name), Cell(said)) for name, said in facts.items() if said != words.MISSING]
    shown = (
        (table("Versions, fingerprints and machine", (Column("what", False), Column("which", False)), lines),)
        if lines
        else ()
    )
    command = words.cut(at(report, "reproduce", "command") or "", 2000)
    return Section("repeat", "How to repeat it", "", (), shown, command)


def _names(every: Sequence[Row], part: str) -> list[str]:
    """Return the strategies that occur, in the order of their first appearance."""
    return list(dict.fromkeys(str(name) for one in every for name in mapping(one, part)))


def _least(value: Any) -> float:
    known = words.number(value)
    return 2.0 if known is None else known


def _class_cell(one: Row, name: str) -> Cell:
    found = mapping(one, "scores", name)
    if words.number(found.get("f1")) is None:
        return Cell(words.MISSING)
    low, high = share_interval(found.get("recall"), one.get("n"))
    around = words.interval({"low": low, "high": high})
    small = f"P {words.score(found.get('precision'))}, R {words.score(found.get('recall'))}"
    return Cell(words.score(found.get("f1")), small if around == words.MISSING else f"{small} ({around})")


def _answer(found: Row, right: Any) -> Cell:
    if found.get("value") is None:
        return Cell("no answer" if found else words.MISSING)
    sure = words.number(found.get("confidence"))
    mark = " ✓" if found.get("value") == right else ""
    return Cell(words.cut(found.get("value"), 80) + mark, f"confidence {sure:.2f}" if sure is not None else "")


def _few(caption: str, columns: tuple[Column, ...], lines: list[tuple[Cell, ...]]) -> Any:
    found = table(caption, columns, lines[:MOST_ROWS])
    rest = len(lines) - MOST_ROWS
    return (
        found
        if rest <= 0
        else type(found)(caption, columns, found.rows, None, f"{words.count(rest)} more in report.json.")
    )


def _spent(parts: Sequence[float] | None) -> Cell:
    if not parts:
        return Cell(words.MISSING)
    aside = [words.money(parts[1])] if parts[1] else []
    aside += [f"{words.count(parts[2])} tokens"] if parts[2] else []
    return Cell(words.duration(parts[0]), ", ".join(aside))


def _split(split: Row) -> str:
    parts = [
        f"{words.count(split.get(part))} {part}"
        for part in ("train", "validation", "test")
        if words.number(split.get(part))
    ]
    folds = words.number(split.get("folds")) or 1
    more = [f"{words.count(folds)} folds"] if folds > 1 else []
    more += ["test rows from a file of their own"] if split.get("test_from") == "file" else []
    more += ["too few rows to certify a choice"] if split.get("certificate") is False else []
    return ", ".join([*parts, *more])


def _settings(found: Row) -> str:
    return ", ".join(
        f"{words.visible(name).replace('_', ' ')}: {words.cut(value, 200)}"
        for name, value in found.items()
        if value is not None
    )


def _with_settings(name: str, found: Row) -> str:
    return f"{name} ({_settings(found)})" if found else name


def _machine(machine: Row) -> list[str]:
    cores, size = words.number(machine.get("cores")), words.number(machine.get("memory_gb"))
    said = [words.cut(machine.get("processor"), 100) if machine.get("processor") else ""]
    said += [
        words.plural(int(cores), "core") if cores is not None else "",
        f"{words.three(size)} GB" if size is not None else "",
    ]
    return [one for one in (*said, words.cut(machine.get("gpu") or "", 100)) if one]
