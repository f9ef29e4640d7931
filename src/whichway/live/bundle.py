"""The winner as a folder: task, weights, settings and a page that says what it is; loaded again without the data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.rules import Rules
from whichway.core.strategy import Kit, Solution
from whichway.core.task import Field, Task
from whichway.core.text import Text
from whichway.errors import UsageError
from whichway.registry import get
from whichway.study.described import metric_settings
from whichway.study.kit import FreshEmbedder, ModelShelf
from whichway.study.ledger import Ledger
from whichway.study.lines import folder_name, uses_embedder

KEPT = "solutions.json"
SCHEMA = 1


def write_bundle(loaded: Any, report: Mapping[str, Any], folder: Path) -> list[str]:
    """Write `solutions.json` (what can be loaded) into the run folder, and `bundle/` with the recommended solution.

    Returns the names of the solutions. Where nothing is recommended there is no bundle; that of an earlier run goes.
    """
    kept = {
        "schema": SCHEMA,
        "task": _task_data(loaded.task),
        "models": loaded.settings.models.model_dump(mode="json"),
        "budget_usd": loaded.settings.budget.usd,
        "recommended": report["recommendation"]["strategy"],
        "solutions": {
            one["strategy"]: {
                "way": one["way"],
                "settings": one["settings"],
                "folder": where,
                "thresholds": _thresholds(report, one["strategy"]),
            }
            for one in report["trials"]
            if one["state"] == "done" and (where := _where(folder, one))
        },
    }
    _write(folder / KEPT, json.dumps(kept, ensure_ascii=False, indent=1))
    _copy_winner(kept, report, folder)
    return list(kept["solutions"])


def load_solution(folder: Path, strategy: str | None = None, usd: float | None = None) -> tuple[Task, Solution, str]:
    """Return (task, solution, name) of a run folder or a bundle: the recommended strategy, or the named one.

    `usd` caps what endpoints may cost in all uses of this folder; None stands for the budget of the task file. Raises
    UsageError when the folder holds no such solution, naming those it holds, or when what it holds is damaged.
    """
    folder = Path(folder)
    if not (folder / KEPT).exists():
        raise UsageError(f"{folder} holds no finished run.", "Run it first: whichway run task.yaml --out DIR")
    try:
        kept = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        if kept["schema"] != SCHEMA:
            raise ValueError(f"schema {kept['schema']!r}")
        task, models = _task_from(kept["task"]), _Models(kept["models"])
        cap = float(kept.get("budget_usd", 0.0)) if usd is None else usd
        name = _chosen(kept, strategy, folder)
        found = kept["solutions"][name]
        settings = {key: tuple(one) if isinstance(one, list) else one for key, one in found["settings"].items()}
        made = get("strategy", found["way"])(**settings)
        where = (folder / found["folder"]).resolve()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        what = f"{folder / KEPT} is damaged or of another version ({type(error).__name__}: {error})."
        raise UsageError(
            what, "Run the study's command again: what is measured is kept, and the file is written anew."
        ) from error
    if not where.is_relative_to(folder.resolve()) or not where.is_dir():
        raise UsageError(f"The solution {name!r} is missing from {folder}.", "Run the study again.")
    shelf = ModelShelf(models, lambda: _meter(folder, cap))
    kit = Kit(shelf, FreshEmbedder(shelf) if uses_embedder(made) else None, where)
    return task, made.load(task, where, kit), name


def solution_names(folder: Path) -> list[str]:
    """Return the names of all solutions of a run folder or a bundle; see load_solution for what is no such folder."""
    return list(_kept(Path(folder))["solutions"])


def threshold(folder: Path, strategy: str, coverage: float) -> float:
    """Return the confidence from which on a strategy answers this share of rows, as chosen on validation by the study."""
    known = _kept(Path(folder))["solutions"][strategy].get("thresholds", {})
    for share, found in known.items():
        if float(share) == coverage:
            return float(found)
    listed = ", ".join(known)
    raise UsageError(
        f"{folder} holds no threshold at which {strategy} answers {coverage:g} of the rows.",
        f"Choose one of {listed}, or --min-confidence." if known else "Give --min-confidence, or run the study again.",
    )


def causal_name(folder: Path) -> str:
    """Return the language model that a run was made with: 'embedded', a folder or a hub id."""
    return str(_kept(Path(folder))["models"]["causal"])


def embedder_name(folder: Path) -> str:
    """Return the sentence encoder that a run was made with: 'embedded', a folder or a hub id."""
    return str(_kept(Path(folder))["models"]["embedder"])


def _kept(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} holds no finished run.", "Run it first: whichway run task.yaml --out DIR"
        ) from error
    return found


def _thresholds(report: Mapping[str, Any], strategy: str) -> dict[str, float]:
    """Return the least confidence by share of rows to answer; nothing for a way whose confidences were not looked at."""
    promises = report.get("abstention", {}).get(strategy, {}).get("promises", [])
    return {f"{one['coverage']:g}": one["threshold"] for one in promises}


def _chosen(kept: Mapping[str, Any], strategy: str | None, folder: Path) -> str:
    """Return the named solution, else the recommended one; raises UsageError naming those there are."""
    name = strategy or kept["recommended"]
    if name in kept["solutions"]:
        return str(name)
    known = ", ".join(kept["solutions"]) or "none"
    what = f"No strategy was recommended in {folder}" if name is None else f"{folder} holds no solution {name!r}"
    fix = f"Choose one with --strategy. There are: {known}." if kept["solutions"] else "Run the study to its end first."
    raise UsageError(f"{what}.", fix)


class _Models:
    """The models section as attributes, as the task file's settings have it."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        def plain(one: Any) -> Any:
            return (
                SimpleNamespace(**{key: plain(value) for key, value in one.items()}) if isinstance(one, dict) else one
            )

        endpoints = {name: plain(one) for name, one in said["endpoints"].items()}
        self.models = SimpleNamespace(
            causal=said["causal"], openvino=said.get("openvino"), embedder=said["embedder"], endpoints=endpoints
        )


def _meter(folder: Path, usd: float) -> Any:
    """Return a ledger of its own for paid calls in use: the study's book is closed."""
    from whichway.study.kit import TrialMeter

    meter = TrialMeter(Ledger(folder / "use", usd))
    meter.trial, meter.phase = "use", "predict"
    return meter


def _task_data(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "instruction": task.instruction,
        "context": task.context,
        "fields": [asdict(one) for one in task.fields],
        "output": asdict(task.output),
        "metric": {"name": task.metric.name, "settings": metric_settings(task.metric)},
    }


def _task_from(said: Mapping[str, Any]) -> Task:
    output = _output_from(said["output"])
    metric: Any = SimpleNamespace(name=said["metric"]["name"])  # answering scores nothing
    fields = tuple(Field(one["name"], one["kind"]) for one in said["fields"])
    return Task(said["name"], said["instruction"], fields, output, metric, said["context"])


def _output_from(said: Mapping[str, Any]) -> Labels | Fields | Text:
    shape = said.get("shape", "labels")
    if shape == "fields":
        return Fields(said["schema"])
    if shape == "text":
        return Text(Rules.of(said["rules"]), tuple(said["stop"]), said["most_tokens"], said["unknown"])
    return Labels(tuple(said["names"]), said["multi"], said["descriptions"])


def _where(folder: Path, trial: Mapping[str, Any]) -> str | None:
    """Return the solution of a trial that was certified, relative to the run folder: where there is one, the refitted.

    A refit that was left unfinished is not what was measured on the test part, so it is passed over.
    """
    home = f"trials/{folder_name(trial['strategy'])}"
    refitted = trial["test"] is None or trial["test"]["refit"] is True
    for which in ("final", "fold-0") if refitted else ("fold-0",):
        if (folder / home / which).is_dir():
            return f"{home}/{which}"
    return None


def _copy_winner(kept: Mapping[str, Any], report: Mapping[str, Any], folder: Path) -> None:
    name, bundle = kept["recommended"], folder / "bundle"
    scratch = folder / "bundle.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    if name not in kept["solutions"]:
        shutil.rmtree(bundle, ignore_errors=True)
        return
    own = {**kept["solutions"][name], "folder": "solution"}
    shutil.copytree(folder / kept["solutions"][name]["folder"], scratch / "solution")
    _write(scratch / KEPT, json.dumps({**kept, "solutions": {name: own}}, ensure_ascii=False, indent=1))
    _write(scratch / "README.md", _page(name, report))
    shutil.rmtree(bundle, ignore_errors=True)
    scratch.rename(bundle)


def _page(name: str, report: Mapping[str, Any]) -> str:
    trial = next(one for one in report["trials"] if one["strategy"] == name)
    score = trial["test"] or trial["validation"] or {"value": float("nan"), "low": 0, "high": 0, "n": 0}
    part = "sealed test part" if trial["test"] else "validation rows"
    return (
        f"# {report['task']['name']}: {name}\n\n"
        f"{report['recommendation']['sentence']}\n\n"
        f"* {report['task']['metric']['name']}: {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}) "
        f"on {score['n']} rows, {part}\n"
        f"* Answer new rows: `whichway predict . rows.jsonl -o answers.jsonl`\n"
        f"* `solutions.json` says what is loaded; `solution/` holds it in open formats (JSON, safetensors).\n"
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".partial")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
