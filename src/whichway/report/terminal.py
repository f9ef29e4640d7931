"""The report in a terminal: the verdict in words, then one row per trial."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whichway.report import verdict, words
from whichway.report.guarantees import sentences
from whichway.report.labels import fine_tuning
from whichway.report.prompts import measured_steps, step_sentence
from whichway.report.reading import Report, Row, at, mapping, measured, metric, rows, things, unmeasured, winner_name

WIDE = 98  # columns from which a score and its interval fit on one line
WIDER = 120  # and from which the scores of other forms of a prompt have a column beside it
NOT_MEASURED = {"skipped": "skipped", "failed": "failed", "stopped": "stopped", "dropped": "dropped"}


def print_verdict(report: Report, console: Console) -> None:
    """Print which strategy to use, how sure that is, the decisive numbers and the runner-up."""
    console.print()
    console.print(Text(verdict.headline(report), style="bold"))
    _indent(console, f"{verdict.level(report).capitalize()}. {verdict.certainty(report)}")
    if verdict.stopped(report):
        _indent(console, verdict.stopped(report), "yellow")
    console.print()
    console.print(_tiles(report))
    console.print()
    for said in (verdict.runner_up(report), verdict.fragile(report)):
        if said:
            _indent(console, said)
    for reason in verdict.reasons(report):
        console.print(Padding(Text("- " + reason), (0, 0, 0, 2), expand=False))
    if winner_name(report) is None:  # what would get there is then the answer
        for way in things(report, "recommendation", "would_change"):
            _indent(console, f"- {words.cut(way, 600)}")
    console.print()


def print_table(report: Report, console: Console) -> None:
    """Print one row per trial: scores with intervals, what it costs, how fast and how steady it is; then why not."""
    found, others = measured(report), unmeasured(report)
    if not found and not others:
        console.print(Text("No strategy was tried."))
        return
    is_wide, reworded = console.width >= WIDE, console.width >= WIDER and any(map(_range, found))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("way", overflow="fold", min_width=8)
    heads = ["validation", *(["reworded"] if reworded else []), "test", "build", "$/1,000", "p95", "steady"]
    for name in heads:
        table.add_column(Text(name), justify="right", overflow="fold")
    for trial in [*found, *(one for one in others if one.get("state") != "skipped")]:  # those say nothing in columns
        cells = _cells(trial, report, is_wide)
        if reworded:
            cells.insert(2, _range(trial, metric(report)))
        table.add_row(
            *(Text(cell) for cell in cells), style="bold" if trial.get("strategy") == winner_name(report) else ""
        )
    console.print(table)
    console.print(Text(_legend(report, reworded), style="dim"))
    whys: dict[str, list[str]] = {}
    for trial in [*(one for one in found if not _is_done(one)), *others]:
        whys.setdefault(_why(trial), []).append(words.visible(trial.get("strategy")))
    for why, names in whys.items():
        _indent(console, f"{', '.join(names)}: {why}", "dim")
    for way in rows(report, "steps"):
        if measured_steps(way):
            _indent(console, step_sentence(way, metric(report)))


def print_guarantees(report: Report, console: Console) -> None:
    """Print what is guaranteed and what is an estimate, and why nobody knows what fine-tuning needs, where that is so."""
    for said in (*sentences(report), fine_tuning(report)):
        if said:
            _indent(console, said, "dim")


def print_prompts(prompts: Sequence[Row], console: Console) -> None:
    """Print prompts that were scored, one per line, in the order in which they were."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name, side in (("id", "left"), ("way", "left"), ("scored on", "left"), ("score", "right"), ("tokens", "right")):
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    for name in ("cost", "parent", "change"):
        table.add_column(name, overflow="fold")
    for one in prompts:
        cost = words.money(one.get("usd")) if one.get("usd") else words.duration(one.get("seconds"))
        where = f"{words.count(one.get('rows'))} {words.visible(one.get('part'))} rows"
        cells = [one.get("id"), one.get("trial"), where, words.score(one.get("score")), words.count(one.get("tokens"))]
        cells += [cost, one.get("parent") or "", words.cut(one.get("change") or "", 200)]
        table.add_row(*(Text(words.visible(cell)) for cell in cells))
    console.print(table)
    console.print(Text("Show one: whichway prompts RUN ID   compare two: whichway prompts RUN ID ID", style="dim"))


def trial_line(trial: Row, metric: Row | None = None) -> str:
    """Return one line of plain text for a trial that has just ended."""
    name = words.visible(trial.get("strategy") or "?").ljust(16)
    found = mapping(trial, "validation") or mapping(trial, "test")
    if words.number(found.get("value")) is None:
        return f"{name} {_why(trial)}"
    said = [f"{words.estimate(found, metric)} {words.sample(found)}".rstrip()]
    if _range(trial):
        said.append(
            f"in other forms {_range(trial, metric)} {words.sample({'n': at(trial, 'sensitivity', 'rows')})}".rstrip()
        )
    use = mapping(trial, "use")
    if words.number(use.get("usd_per_1000")) is not None:
        said.append(f"{words.money(use.get('usd_per_1000'))} per 1,000")
    if words.number(use.get("p95_ms")) is not None:
        said.append(f"p95 {words.latency(use.get('p95_ms'))}")
    if words.number(at(trial, "build", "seconds")) is not None:
        said.append(f"built in {words.duration(at(trial, 'build', 'seconds'))}")
    return f"{name} {', '.join(said)}{'' if _is_done(trial) else f' ({_why(trial)})'}"


def _cells(trial: Row, report: Report, is_wide: bool) -> list[str]:
    name = words.cut(trial.get("strategy") or "?", 40)
    shown = f"> {name}" if trial.get("strategy") == winner_name(report) else f"  {name}"
    shown += " *" if trial.get("state") == "dropped" else ""
    scores = [_score(mapping(trial, part), report, is_wide) for part in ("validation", "test")]
    if scores == [words.MISSING, words.MISSING]:
        scores[0] = words.visible(trial.get("state") or "not run")
    return [
        shown,
        *scores,
        words.duration(at(trial, "build", "seconds")),
        words.money(at(trial, "use", "usd_per_1000")),
        words.latency(at(trial, "use", "p95_ms")),
        words.percent(trial.get("consistency")),
    ]


def _score(found: Row, report: Report, is_wide: bool) -> str:
    if is_wide:
        return words.estimate(found, metric(report))
    value, around = (words.score(found.get("value"), metric(report)), words.interval(found, metric(report)))
    return value if words.MISSING in (value, around) else f"{value}\n{around}"


def _range(trial: Row, known: Row | None = None) -> str:
    """Return the lowest and the highest score of a prompt in other forms; nothing where it has none."""
    found = words.interval(mapping(trial, "sensitivity"), known)
    return "" if found == words.MISSING else found


def _legend(report: Report, reworded: bool = False) -> str:
    sizes = []
    for part in ("validation", "test"):
        found = {words.number(at(trial, part, "n")) for trial in measured(report)} - {None}
        if found:
            sizes.append(f"{part} n = {' or '.join(words.count(size) for size in sorted(filter(None, found)))}")
    name = words.visible(metric(report).get("name") or "score")
    said = [f"{name} with 95% intervals", *sizes, "> recommended", "steady: same answer to reworded requests"]
    rows_said = {words.number(at(trial, "sensitivity", "rows")) for trial in measured(report)} - {None}
    if reworded and rows_said:
        some = " or ".join(words.count(one) for one in sorted(filter(None, rows_said)))
        said.append(f"reworded: lowest and highest score of the same prompt in other forms, n = {some}")
    said += ["* dropped on its first rows"] if any(one.get("state") == "dropped" for one in measured(report)) else []
    return "; ".join(said)


def _tiles(report: Report) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", min_width=8)
    for tile in verdict.tiles(report):
        held = {True: ", met", False: ", NOT met", None: ""}[tile.is_met]
        aside = "; ".join(one for one in (tile.small, f"asked: {tile.limit}{held}" if tile.limit else "") if one)
        grid.add_row(Text(f"  {tile.value}", style="bold"), Text(f"{tile.label}{f' ({aside})' if aside else ''}"))
    return grid


def _why(trial: Row) -> str:
    state = words.visible(trial.get("state") or "not run")
    reason = words.cut(trial.get("reason") or "", 300)
    return f"{state}: {reason}" if reason else state


def _is_done(trial: Row) -> bool:
    return trial.get("state") in (None, "done", "finished")


def _indent(console: Console, text: str, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (0, 0, 0, 2), expand=False))
