"""The plan in a terminal: split, strategies with expected time and money, exclusions, power, expectation."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from whichway.report import words
from whichway.report.words import visible
from whichway.study.cost import endpoint_prices
from whichway.study.plan import Plan


def print_plan(loaded: Any, plan: Plan, console: Console) -> None:
    """Print all that is known before anything is spent."""
    split, task = plan.split, loaded.task
    console.print(Text(f"{visible(task.name)}: {_answers(task)}, metric {task.metric.name}", style="bold"))
    first = split.folds[0]
    folds = f", {len(split.folds)}-fold cross-fitting" if len(split.folds) > 1 else ""
    console.print(
        f"  learn from   {len(first.train) + len(first.dev)} rows ({len(first.dev)} of them for early stopping){folds}"
    )
    console.print(f"  compare on   {len(split.validation)} rows{_power(plan, 'validation')}")
    where = {"file": "your test file", "split": "sealed until the end", "none": "too few labels: no certificate"}
    console.print(f"  certify on   {len(split.test)} rows, {where[split.test_from]}{_power(plan, 'test')}")
    console.print()
    console.print(_table(plan))
    total, budget = sum(one.seconds for one in plan.estimates), loaded.settings.budget
    console.print(
        f"\nIn all about {_minutes(total)} to compare, then the finalists' test. "
        f"Budget: {budget.minutes:g} min, ${budget.usd:g}. Times are rough (a factor of two)."
    )
    if plan.usd:
        console.print(
            f"For endpoints about {words.money(plan.usd)} in all, {words.money(plan.further_usd)} of it for the finalists' test "
            f"and a judge; at most {words.money(plan.most_usd)}, if every search asks for all it may and the dearest ways are "
            "certified. By the strategies' own prompts, about as many tokens as usual, and without a prompt cache."
        )
    for one in endpoint_prices(loaded.settings):
        console.print(Text(f"  price: {words.price(one)}"))
    for line in plan.excluded:
        console.print(Text(f"  left out: {visible(line.name)}: {line.excluded}"))
    console.print(Text("\nWhat practice would try first (expectation, not evidence):", style="bold"))
    for sentence in plan.expectation:
        console.print(Text(f"  - {sentence}"))
    for finding in loaded.findings:
        if finding.severity != "info":
            console.print(Text(f"  data: {visible(finding.message)}"))


def _table(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 2), pad_edge=False, header_style="bold")
    table.add_column("way")
    for name in ("expected time", "paid calls", "expected $", "at most $", "as a finalist $"):
        table.add_column(name, justify="right")
    for one in plan.estimates:
        money = (f"{usd:.4f}" if usd else "0" for usd in (one.usd, one.most_usd, one.test_usd))
        table.add_row(visible(one.line.name), _minutes(one.seconds), str(one.calls), *money)
    return table


def _power(plan: Plan, part: str) -> str:
    gap = plan.detectable.get(part)
    return f": tells apart gaps of about {100 * gap:.0f} points or more (80 % power)" if gap else ""


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _answers(task: Any) -> str:
    """Return the shape of the answers in words."""
    documents = f", {len(task.documents)} documents" if task.documents else ""
    if task.output.shape == "labels":
        return f"{len(task.output.names)} labels{documents}"
    return ("running text" if task.output.shape == "text" else f"{len(task.output.names)} fields") + documents
