"""The command line: parse, call the library, print. Results go to stdout, progress to stderr."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from whichway.ending import complain, run_app


def _finite(value: float | None) -> float | None:
    """Refuse a budget that is no amount: `nan` would pass every comparison, `inf` would be no budget."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no amount; give a number such as 30 or 0.5.")
    return value


app = typer.Typer(
    name="whichway",
    help="Which way should a model be customised for your task? Prompting, embeddings, classical learning, fine-tuning or a "
    "hybrid: whichway races them on your rows, on one honest split, and says which to use, how sure it is, and what it "
    "costs.\n\nBegin with:  whichway init rows.csv  then  whichway run task.yaml.  No rows at hand?  whichway demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Folder = Annotated[Path, typer.Argument(help="The folder of a run (what --out named).", metavar="RUN")]
TaskPath = Annotated[Path, typer.Argument(help="The task file, e.g. task.yaml.", metavar="TASK")]
Minutes = Annotated[
    float | None,
    typer.Option("--budget-minutes", help="Wall-clock minutes; overrides the task file.", min=0, callback=_finite),
]
Dollars = Annotated[
    float | None,
    typer.Option("--budget-usd", help="Dollars for endpoints; overrides the task file.", min=0, callback=_finite),
]
Allowed = Annotated[
    float | None,
    typer.Option(
        "--budget-usd",
        help="Dollars that all answers of this run may cost together; else the task file's.",
        min=0,
        callback=_finite,
    ),
]
Only = Annotated[str, typer.Option("--only", help="Ways to run to their end, without a race: probe,prompt,finetune.")]
Least = Annotated[
    float, typer.Option(help="Mark less sure answers as withheld; the report says what it buys.", min=0, max=1)
]
Coverage = Annotated[
    float | None,
    typer.Option(help="Answer about this share of rows (0.95, 0.9 or 0.8) and mark the least sure rest as withheld."),
]
Documents = Annotated[
    Path | None,
    typer.Option(
        help="A folder or documents.jsonl to look answers up in, not the run's; what changed is indexed, nothing is refitted."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Make everything here: take nothing over from the runs in folders beside this one."),
]


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Rows: CSV, TSV, JSONL, JSON, Parquet, chat, Alpaca or ShareGPT.")],
    input: Annotated[list[str] | None, typer.Option("--input", help="An input column; may be repeated.")] = None,
    target: Annotated[str | None, typer.Option(help="The column that holds the right answer.")] = None,
    test: Annotated[Path | None, typer.Option(help="Your own test file; it is used as it is.")] = None,
    documents: Annotated[
        Path | None, typer.Option(help="A folder or documents.jsonl in which answers are looked up.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the task file.")] = Path("task.yaml"),
    debug: Debug = False,
) -> None:
    """Look at a file of rows, say what is wrong with it, and write a commented task file."""
    from whichway.intake.init import init as look

    found = look(file, tuple(input or ()), target, test, out, documents=documents)
    typer.echo(found.summary)
    typer.echo(f"\nNext:  whichway plan {out}  and then  whichway run {out}")


@app.command()
def plan(
    task: TaskPath,
    only: Only = "",
    labels: Annotated[
        int | None, typer.Option(help="What would so many more labels buy? Told from a finished run.", min=1)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --labels: the finished run; by default runs/<task's name>.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show what a run would do, cost and be able to tell apart. Nothing is spent."""
    if labels is None:
        typer.echo("Reading the task and its rows, timing this machine ...", err=True)
    from whichway.intake.load import load_task
    from whichway.report.plan import print_plan
    from whichway.study.lines import make_lines
    from whichway.study.plan import make_plan
    from whichway.study.split import make_split

    loaded = load_task(task)
    if labels is not None:
        from whichway.live.labels import print_forecast

        print_forecast(out or Path("runs") / _safe(loaded.task.name), labels, loaded.task.objective, _console())
        return
    lines = make_lines(loaded.task, loaded.settings, _names(only))
    split = make_split(loaded.examples, loaded.test, loaded.settings.seed)
    print_plan(loaded, make_plan(loaded.task, loaded.examples, split, lines, loaded.settings), _console())


@app.command()
def run(
    task: TaskPath,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default runs/<task's name>.")] = None,
    only: Only = "",
    budget_minutes: Minutes = None,
    budget_usd: Dollars = None,
    seed: Annotated[int | None, typer.Option(help="Another split and other random choices.", min=0)] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Run every strategy to the end, label curves too: nothing is dropped.")
    ] = False,
    allocation: Annotated[
        Literal["kg", "halving"],
        typer.Option(help="How the race spends its time: by knowledge gradient, or by successive halving."),
    ] = "kg",
    fresh: Fresh = False,
    yes: Annotated[bool, typer.Option("--yes", help="For scripts; nothing is ever asked.")] = False,
    debug: Debug = False,
) -> None:
    """Race all strategies, certify the finalists on the sealed test part, recommend one, write the report.

    Stopped or killed? The same command continues where it was. Exit codes: 0 recommendation made, 2 usage, 3 bad data,
    4 budget reached (the report is partial), 5 provider unavailable, 6 inconclusive.
    """
    from whichway.study.run import Options

    command = "whichway " + " ".join(_quoted(one) for one in sys.argv[1:])
    options = Options(budget_minutes, budget_usd, _names(only), debug, exhaustive, allocation, command, fresh)
    raise typer.Exit(_study(task, out, seed, options))


@app.command()
def report(
    folder: Folder,
    format: Annotated[str, typer.Option(help="html, md or json.")] = "md",
    debug: Debug = False,
) -> None:
    """Print the report of a run again."""
    from whichway.report.write import read_report, render

    typer.echo(render(read_report(folder), format))


@app.command()
def why(
    folder: Folder,
    conditions: Annotated[
        list[str] | None, typer.Option("--if", help='Another condition, such as "min_score=0.9"; may be repeated.')
    ] = None,
    debug: Debug = False,
) -> None:
    """Say why a run recommends what it does, or what it would under other conditions. Nothing is run or spent.

    Conditions: all limits (min_score, max_p95_ms, deadline_days, privacy, ...), volume and prices (requests_per_month,
    compute_usd_per_hour, endpoint_price_factor, label_usd, hourly_usd, ...); a name that is none is answered with all.
    """
    from whichway.live.why import explain
    from whichway.report.why import print_why

    print_why(explain(folder, conditions or ()), _console())


@app.command()
def predict(
    folder: Folder,
    inputs: Annotated[Path, typer.Argument(help="Rows to answer; an output in them is not looked at.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="JSONL to write; without it answers go to stdout.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="Another strategy of the run than the recommended one.")] = None,
    min_confidence: Least = 0.0,
    coverage: Coverage = None,
    documents: Documents = None,
    budget_usd: Allowed = None,
    debug: Debug = False,
) -> None:
    """Answer new rows with the recommended strategy: {"id", "output", "confidence"} per row."""
    import json

    from whichway.live.answer import Asked, answer_file

    def say(done: int, all_: int) -> None:
        typer.echo(f"{done}/{all_} rows", err=True)

    asked = Asked(strategy, budget_usd, min_confidence, documents, coverage)
    name, rows = answer_file(folder, inputs, out, asked, say, lambda said: typer.echo(said, err=True))
    if out is None:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        typer.echo(f"{len(rows)} rows answered by {name}: {out}")


@app.command()
def demo(
    name: Annotated[
        str,
        typer.Argument(
            help="An example: support_triage, payment_fraud, contract_clauses, policy_faq, invoice_fields, ..."
        ),
    ] = "support_triage",
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default runs/demo.")] = None,
    fresh: Fresh = False,
    debug: Debug = False,
) -> None:
    """Run a bundled example from end to end on the embedded models."""
    from whichway.live.examples import example_task
    from whichway.study.run import Options

    task = example_task(name)
    typer.echo(f"Example {name}: {task}", err=True)
    options = Options(debug=debug, command=f"whichway demo {name}", fresh=fresh)
    raise typer.Exit(_study(task, out or Path("runs/demo"), None, options))


@app.command()
def serve(
    folder: Folder,
    strategy: Annotated[str | None, typer.Option(help="Another strategy of the run than the recommended one.")] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; another one than this machine needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    key_env: Annotated[
        str | None, typer.Option(help="The environment variable that holds the key every request must carry.")
    ] = None,
    min_confidence: Least = 0.0,
    coverage: Coverage = None,
    documents: Documents = None,
    training: Annotated[
        bool,
        typer.Option(
            "--training", help="Offer OpenAI's files, batches and fine-tuning jobs, too, on the run's own model."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve the recommended strategy to any OpenAI client: /v1/chat/completions, /v1/models and /predict.

    The last user message is the row; with several input fields it is a JSON object, or lines 'name: value'.
    """
    from whichway.live.answer import Asked
    from whichway.live.serving.app import serve as start

    start(folder, Asked(strategy, None, min_confidence, documents, coverage), host, port, key_env, training)


@app.command()
def prompts(
    folder: Folder,
    ids: Annotated[
        list[str] | None, typer.Argument(help="One id shows that prompt, two show what changed between them.")
    ] = None,
    format: Annotated[str, typer.Option(help="text, or openai: the messages of a chat request.")] = "text",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A file to write the prompt to.")] = None,
    debug: Debug = False,
) -> None:
    """List every prompt that a run has scored, with its parent, scores and cost; show, compare or export them."""
    from whichway.live.prompts import compare_prompts, export_prompt, find_prompt, list_prompts
    from whichway.report.terminal import print_prompts

    found = list_prompts(folder)
    chosen = [find_prompt(found, one) for one in ids or ()]
    if not chosen:
        print_prompts(found, _console())
        return
    if len(chosen) > 2:
        raise typer.BadParameter("give one id to show a prompt, or two to compare them.")
    text = compare_prompts(*chosen) if len(chosen) == 2 else export_prompt(chosen[0], format)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        typer.echo(f"Written: {out}")


@app.command()
def doctor() -> None:
    """Say what is installed, what works, what is missing and how to mend it."""
    from whichway.live.doctor import examine

    checks = examine()
    for one in checks:
        typer.echo(
            f"{'ok     ' if one.works else 'missing'}  {one.what}" + (f"\n         {one.fix}" if one.fix else "")
        )
    raise typer.Exit(0 if all(one.works or not one.needed for one in checks) else 2)


def main() -> None:
    """Run the command line; bars of libraries, which would lie between its own lines, are turned off before torch loads them."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    run_app(app)


def _study(task: Path, out: Path | None, seed: int | None, options: Any) -> int:
    """Run a study with a live display, print the result, write the report; return the exit code."""
    typer.echo("Reading the task and its rows ...", err=True)
    from whichway.intake.load import load_task

    loaded = load_task(task)
    if seed is not None:
        from dataclasses import replace

        loaded = replace(loaded, settings=loaded.settings.model_copy(update={"seed": seed}))
    folder = out or Path("runs") / _safe(loaded.task.name)
    from whichway.live.bundle import write_bundle
    from whichway.report.live import Display
    from whichway.report.terminal import print_guarantees, print_table, print_verdict
    from whichway.report.write import write_report
    from whichway.study.run import run_study

    for finding in loaded.findings:
        if finding.severity != "info":
            typer.echo(f"  note: {finding.message}", err=True)
    with Display() as display:
        found = run_study(loaded, folder, options, display.watcher())
    write_report(found, folder)
    solutions = write_bundle(loaded, found, folder)
    console = _console()
    print_verdict(found, console)
    print_table(found, console)
    print_guarantees(found, console)
    typer.echo(f"\nReport: {folder / 'report.html'}{_how_to_predict(found, folder, solutions)}")
    if found["state"] == "interrupted":
        complain("Interrupted; the report is partial.", "The same command continues where this one stopped.")
        return 130
    down = [one for one in found["trials"] if one["state"] == "failed" and one["reason"].startswith("provider:")]
    if down:
        complain(
            f"{down[0]['strategy']}: {down[0]['reason']}", "Mend it and run the same command again: only that is done."
        )
        return 5
    if found["state"] == "budget":
        complain("The budget was reached, so the report is partial.", "Raise it and run the same command again.")
        return 4
    return 0 if found["recommendation"]["strategy"] else 6


def _how_to_predict(found: Any, folder: Path, solutions: list[str]) -> str:
    """Return the command that answers new rows; without a recommendation the user has to name the strategy."""
    if not solutions:
        return ""
    chosen = found["recommendation"]["strategy"]
    said = f"   answer new rows: whichway predict {_quoted(str(folder))} rows.jsonl"
    if chosen in solutions:
        return said
    closest = found["recommendation"].get("closest")
    return f"{said} --strategy {_quoted(closest if closest in solutions else solutions[-1])}"


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def _names(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".-") or "task"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
