"""The answer to `whichway why` on the terminal: the verdict in sentences, each with its number, and a table of all ways."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whichway.report import words
from whichway.study.cost import AS_CHEAP, total_cost
from whichway.study.costing import break_even_sentence
from whichway.study.decision import Redecided

VERBS = {"decided": "Use", "leaning": "Lean towards", "undecided": "Undecided; if you must choose now, take"}


def print_why(found: Any, console: Console) -> None:
    """Print an Explanation: what is recommended, under the conditions where there are any, and why."""
    if found.conditions:
        console.print(Text(f"If {' and '.join(found.conditions)}:", style="dim"))
    console.print(Text(_headline(found.then), style="bold"))
    if found.conditions:
        before, after = found.now.verdict.chosen, found.then.verdict.chosen
        said = "The answer stays the same." if before == after else f"Without that: {_headline(found.now)}"
        console.print(Padding(Text(said), (0, 0, 0, 2)))
    for reason in _reasons(found.then):
        console.print(Padding(Text("- " + reason), (0, 0, 0, 2)))
    console.print()
    console.print(_table(found.then))
    console.print()
    for change in found.then.changes:
        console.print(Padding(Text("- " + change), (0, 0, 0, 2)))


def _headline(one: Redecided) -> str:
    verdict = one.verdict
    if verdict.chosen is None:
        if verdict.closest is None:
            return "No way is left to choose from."
        count = len(verdict.p_feasible)
        judged = f"the {count} certified ways" if one.kept.part == "test" else f"the {count} ways judged"
        return f"None of {judged} meets these conditions with probability 0.9; {verdict.closest} comes closest."
    tied = len(verdict.tied) - 1
    why = f", the cheapest of {tied + 1} that tie" if tied else ""
    return f"{VERBS[verdict.level]} {verdict.chosen}{why}."


def _reasons(one: Redecided) -> list[str]:
    verdict, kept = one.verdict, one.kept
    where = "the sealed test part" if kept.part == "test" else "validation rows, without a certificate"
    case, found = kept.case, []
    gap = case.objective.smallest_difference
    if verdict.chosen is not None:
        found.append(
            f"With probability {verdict.sure:.2f} (estimate) it is within {gap:g} of the best of {len(verdict.p_best)} ways "
            f"and meets every condition (judged on {where})."
        )
    if len(verdict.tied) > 1:
        found.append(
            f"Tied within {gap:g} with probability 0.8 or more: {', '.join(verdict.tied)}; the cheapest is taken, and of those "
            f"that cost up to {AS_CHEAP:g} times as much the best."
        )
    if verdict.chosen and verdict.runner_up:
        by_name = {one.name: one for one in case.candidates}
        pair = by_name[verdict.chosen], by_name[verdict.runner_up]
        found.append(break_even_sentence(pair, case.objective)["sentence"])
    if (more := one.uncertified) is not None:
        found.append(
            f"On validation rows alone, without a certificate, {more.chosen} would be taken: it meets every condition with "
            f"probability {more.p_feasible[more.chosen]:.2f}. To certify it, put the conditions into the task file and run it "
            "with another --out."
            if more.chosen
            else f"None of the {len(more.p_feasible)} ways run to their end meets them on validation rows, either."
        )
    if case.excluded:
        found.append(f"Left out, as nothing may leave this machine: {', '.join(case.excluded)}.")
    return found


def _table(one: Redecided) -> Table:
    case, verdict = one.kept.case, one.verdict
    months = case.objective.horizon_months
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("way", overflow="fold")
    for name in ("score", "90 % interval", "P(meets all)", "P(best)", f"$ in {months:g} months", "p95"):
        table.add_column(Text(name), justify="right")
    ranked = sorted(case.candidates, key=lambda one: -float(one.samples.mean()))
    for each in (c for c in ranked if c.name not in case.excluded):
        samples = sorted(map(float, each.samples))
        low, high = samples[len(samples) // 20], samples[-1 - len(samples) // 20]
        cells = (
            words.visible(each.name),
            f"{sum(samples) / len(samples):.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{verdict.p_feasible.get(each.name, 0.0):.2f}",
            f"{verdict.p_best.get(each.name, 0.0):.2f}",
            words.money(total_cost(each.cost, case.objective)).lstrip("$"),
            "" if each.p95_ms is None else f"{each.p95_ms:,.0f} ms",
        )
        table.add_row(*map(Text, cells), style="bold" if each.name == verdict.chosen else "")
    return table
