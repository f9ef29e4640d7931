"""Whichway's engine beside what a user would pick instead: same inputs, in turns, on a quiet machine, ratios in one table."""

# Each side is a process of its own (bench/sides/), so that neither warms the other's memory. Sides take turns A B A B;
# the table gives medians and the ratio of medians. Work of other processes during a run is measured and that run repeated.
# A side that fails costs its own row alone: the table says why, and the command ends with exit code 1.

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from side_by_side import machine
from side_by_side.machine import Failed
from side_by_side.measures import DATA, PEERS, ROOT, Measure, measures
from side_by_side.table import summed, table, unequal

HERE = Path(__file__).parent
SLOW_S = (
    100  # a side other than ours whose first turn took longer has no other: the whole bench is to end within the hour
)
MOST_S = 1800  # of one turn


def main() -> None:
    """Run the measures asked for and write bench/results.json and bench/results.md."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", default="", help="names of measures, comma-separated")
    asked.add_argument("--repeats", type=int, default=2)
    asked.add_argument("--scale", type=float, default=1.0, help="share of the rows of each measure")
    asked.add_argument("--anyway", action="store_true", help="time beside a busy process, and say so")
    asked.add_argument("--out", type=Path, default=HERE, help="folder of results.json and results.md")
    said = asked.parse_args()
    chosen = _chosen(measures(said.scale), said.only)
    if not DATA.is_dir():
        sys.exit(f"{DATA} is missing: set WHICHWAY_DATA to the folder of measuring data.")
    try:
        machine.wait(said.anyway)
    except Failed as why:
        sys.exit(f"Nothing is timed now: {why}.")
    about = {
        "machine": machine.name(),
        "format": machine.number_format(),
        "peak_flops_per_s": machine.peak(said.anyway),
        "commit": _commit(),
    }
    said.out.mkdir(parents=True, exist_ok=True)
    written = said.out / f"results{_kind_of_machine()}.json"
    failed = run(chosen, written, about, said.repeats, said.anyway)
    print(written.with_suffix(".md").read_text())
    if failed:
        sys.exit(f"Failed: {'; '.join(failed)}.")


def run(chosen: list[Measure], written: Path, about: dict[str, Any], repeats: int, anyway: bool) -> list[str]:
    """Measure, and write the table after each measure beside what it already holds; return the sides that failed."""
    PEERS.mkdir(exist_ok=True)
    found = json.loads(written.read_text()) if written.exists() else {"measures": {}}
    failed = []
    for one in chosen:
        sides = _measured(one, repeats, anyway)
        found["measures"][one.name] = {"date": time.strftime("%Y-%m-%d"), **about, "sides": sides}
        failed += [f"{one.name}, {side}" for side, of in sides.items() if "failed" in of]
        written.write_text(json.dumps(found, indent=1) + "\n")
        written.with_suffix(".md").write_text(table(found))
    return failed


def _kind_of_machine() -> str:
    """Return what the results of a GPU, or of a processor without fast bf16, are told apart by."""
    return ("-gpu" if machine.gpu() else "") + ("" if machine.number_format() == "bf16" else "-fp32")


def _chosen(every: list[Measure], only: str) -> list[Measure]:
    wanted, known = only.split(",") if only else [], [one.name for one in every]
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"There is no measure {unknown[0]!r}. Known: {', '.join(known)}.")
    return [one for one in every if not wanted or one.name in wanted]


def _measured(one: Measure, repeats: int, anyway: bool) -> dict[str, dict[str, Any]]:
    """Run all sides of a measure in turns; return per side its seconds, rate, quality and memory, or why it failed."""
    path = PEERS / f"{one.name}.json"
    try:
        path.write_text(json.dumps(one.inputs()))
    except Failed as why:
        return {name: {"failed": str(why)} for name, *_ in one.sides}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in one.sides}
    failed: dict[str, str] = {}
    for turn in range(repeats):
        for name, script, side, env in one.sides:
            first = name == one.sides[0][0]
            if name in failed or (turn and not first and not _has_another_turn(name, env, runs)):
                continue
            try:
                # Ours in its own environment: a peer's may hold other versions of the packages that both use.
                python = sys.executable if name.startswith("whichway") else _environment(one.needs)
                result = _timed([python, str(HERE / "sides" / script), side, str(path)], env, anyway)
            except Failed as why:
                failed[name] = str(why)
                print(f"{one.name:14} {name:40} failed: {why}", flush=True)
                continue
            runs[name].append(result)
            print(f"{one.name:14} {name:40} {result['rows'] / result['seconds']:9.1f} rows/s", flush=True)
    return _told(one, runs, failed)


def _has_another_turn(name: str, env: dict[str, str], runs: dict[str, list[dict[str, Any]]]) -> bool:
    """Tell whether a peer goes on after its first turn: at its best batch size alone, and if it is not too slow."""
    best = max(_rate(of) for other, of in runs.items() if "batch " in other) if "BATCH" in env else 0.0
    return _rate(runs[name]) >= best and max(of["seconds"] for of in runs[name]) <= SLOW_S


def _told(one: Measure, runs: dict[str, list[dict[str, Any]]], failed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return per side what its turns gave, whether its quality is another one than ours, and why it failed."""
    sides: dict[str, dict[str, Any]] = {}
    ours = runs[one.sides[0][0]]
    for name, of in runs.items():
        sides[name] = summed(of) if of else {}
        apart = unequal(ours[0]["scores"], of[0]["scores"]) if ours and of and one.same_work else None
        sides[name] |= {"unequal": apart} if apart else {}
        sides[name] |= {"failed": failed[name]} if name in failed else {}
    return sides


def _timed(command: list[str], env: dict[str, str], anyway: bool) -> dict[str, Any]:
    """Run one side undisturbed. Raises Failed with its last words."""

    def once() -> subprocess.CompletedProcess[str]:
        around = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "BENCH_FORMAT": machine.number_format(), **env}
        try:
            return subprocess.run(command, env=around, capture_output=True, text=True, timeout=MOST_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end within {MOST_S} s") from None

    done, foreign = machine.undisturbed(once, anyway)
    said = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not said:
        raise Failed(f"exit code {done.returncode}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(said[-1][7:])
    result["seconds"] -= result.pop("not_counted_s", 0.0)
    return {**result, "foreign": foreign}


def _rate(runs: list[dict[str, Any]]) -> float:
    return max((one["rows"] / one["seconds"] for one in runs), default=0.0)


def _environment(needs: tuple[str, ...]) -> str:
    """Return the Python that runs a measure: ours, or one that adds the peer's packages to ours under .bench/.

    That a peer sees our packages is meant: it computes with the same torch and transformers as we do, so that a ratio tells of
    the engines and not of their builds. Its own packages come first, where a version of its own is listed. Raises Failed.
    """
    if not needs:
        return sys.executable
    folder = PEERS / "-".join(needs)
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"setting up {folder} ...", flush=True)
        try:
            listed = [word for one in needs for word in (HERE / f"peers-{one}.txt").read_text().split()]
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            ours = next(Path(sys.prefix).glob("lib/python*/site-packages"))
            theirs = next(folder.glob("lib/python*/site-packages"))
            (theirs / "ours.pth").write_text(f"{ours}\n{ROOT / 'src'}\n")
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *listed], check=True)
        except (OSError, subprocess.CalledProcessError) as why:
            raise Failed(f"{folder} cannot be set up: {why}") from why
        (folder / "ready").touch()
    return str(python)


def _commit() -> str:
    """Return the commit that is measured, with a + where the code differs from it; empty where git knows none."""
    try:
        told = [
            subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "-uno", "src", "bench/sides"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told[0] + ("+" if told[1] else "")


if __name__ == "__main__":
    main()
