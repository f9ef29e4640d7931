"""Whichway's engine beside what a user would pick instead: same inputs, in turns, on a quiet machine, ratios in one table."""

# Each side is a process of its own (bench/sides/), so that neither warms the other's memory. Sides take turns A B A B;
# the table gives medians and the ratio of medians. Work of other processes during a run is measured and that run repeated.

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
DATA = Path(os.environ.get("WHICHWAY_DATA", ROOT.parent / "shared" / "data"))
PEERS = ROOT / ".bench"
FOREIGN = 0.05  # share of the machine that others may use while we time
WAIT_S = 120


@dataclass(frozen=True)
class Measure:
    """One comparison: `sides` are (name shown, script, side, environment variables), ours first."""

    name: str
    inputs: Any
    sides: tuple[tuple[str, str, str, dict[str, str]], ...]
    unit: str = "rows/s"
    needs: tuple[str, ...] = field(default=())


def main() -> None:
    """Run the measures asked for and write bench/results.json and bench/results.md."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", default="", help="names of measures, comma-separated")
    asked.add_argument("--repeats", type=int, default=2)
    asked.add_argument("--scale", type=float, default=1.0, help="share of the rows of each measure")
    asked.add_argument("--anyway", action="store_true", help="time beside a busy process, and say so")
    asked.add_argument("--out", type=Path, default=HERE, help="folder of results.json and results.md")
    said = asked.parse_args()
    written = said.out / ("results-gpu.json" if _gpu() else "results.json")
    chosen = [one for one in measures(said.scale) if not said.only or one.name in said.only.split(",")]
    PEERS.mkdir(exist_ok=True)
    peak = _peak()
    found = json.loads(written.read_text()) if written.exists() else {"measures": {}}
    for one in chosen:
        found["measures"][one.name] = _measured(one, said.repeats, said.anyway)
        found |= {"machine": _machine(), "peak_flops_per_s": peak}
        written.write_text(json.dumps(found, indent=1) + "\n")
        written.with_suffix(".md").write_text(_table(found))
    print(_table(found))


def measures(scale: float) -> list[Measure]:
    """Return all comparisons, with their inputs made when they are run."""
    ours = ("whichway", "score.py", "whichway", {})
    harness = [(f"lm-eval, batch {n}", "score.py", "lm_eval", {"BATCH": str(n)}) for n in (8, 16, 32)]
    needs: tuple[str, ...] = ("lm_eval",)
    if _gpu():  # the harness brings dozens of packages; transformers alone, at three batch sizes, stands for it
        harness = [(f"transformers, batch {n}", "score.py", "plain", {"BATCH": str(n)}) for n in (256, 64, 16)]
        needs = ()
    return [
        Measure("score-prefix", lambda: _prefix_inputs(1, int(200 * scale)), (ours, *harness), needs=needs),
        Measure("score-77", lambda: _many_labels(int(100 * scale)), (ours, harness[1]), needs=needs),
        Measure(
            "candidates",
            lambda: _prefix_inputs(30, int(200 * scale)),
            (ours, ("transformers, prefix copied per batch", "score.py", "copied_prefix", {})),
        ),
        Measure(
            "lora",
            lambda: _training(int(200 * scale)),
            (
                ("whichway", "train.py", "whichway", {}),
                ("trl as it comes", "train.py", "trl_defaults", {}),
                ("trl, best settings", "train.py", "trl_best", {}),
            ),
        ),
        Measure(
            "lora-step",
            lambda: _training(int(200 * scale)),
            (("whichway", "step.py", "whichway", {}), ("PEFT, head at answers only", "step.py", "peft", {})),
        ),
        Measure(
            "lora-arms",  # what training arms of one base side by side could gain at most: their rows in one pass
            lambda: _training(int(200 * scale)),
            (
                ("rows of three arms at once", "step.py", "whichway", {"ROWS": "24"}),
                ("one arm after the other", "step.py", "whichway", {"ROWS": "8"}),
            ),
        ),
        Measure(
            "full",
            lambda: _training(int(200 * scale)),
            (
                ("whichway, bf16 products", "train.py", "full", {}),
                ("whichway, fp32", "train.py", "full", {"WHICHWAY_DTYPE": "fp32"}),
            ),
        ),
        Measure(
            "generate",
            lambda: _writing(int(64 * scale)),
            (
                ("whichway", "generate.py", "whichway", {}),
                ("transformers, batches of 16", "generate.py", "transformers", {}),
            ),
        ),
        *_beside_openvino(scale),
        Measure(
            "embed",
            lambda: _texts(int(2000 * scale)),
            (
                ("whichway", "embed.py", "whichway", {}),
                ("whichway, second time", "embed.py", "whichway_again", {}),
                ("sentence-transformers as it comes", "embed.py", "sentence_transformers", {}),
            ),
        ),
    ]


def _beside_openvino(scale: float) -> list[Measure]:
    """Return comparisons with OpenVINO GenAI, which computes on processors alone (and on Intel's GPUs)."""
    if _gpu():
        return []
    needs = ("openvino",)
    kept = {"IR": str(PEERS / "ir-bf16")}  # the converted model: made by the first side that finds none
    peer, own = "OpenVINO GenAI, bf16", "with_openvino.py"

    def beside(name: str, inputs: Any, script: str, sides: tuple[str, str]) -> Measure:
        both = (("whichway", script, sides[0], {}), (peer, own, sides[1], kept))
        return Measure(f"openvino-{name}", inputs, both, needs=needs)

    return [
        beside("write", lambda: _writing(int(64 * scale)), "generate.py", ("whichway", "write")),
        beside("single", lambda: _writing(int(8 * scale)), "generate.py", ("whichway_single", "write_single")),
        beside("score", lambda: _prefix_inputs(1, int(200 * scale)), "score.py", ("whichway", "score")),
    ]


def _measured(one: Measure, repeats: int, anyway: bool) -> dict[str, Any]:
    """Run all sides of a measure in turns; return per side its seconds, rate, quality and memory."""
    python = _environment(one.needs)
    path = PEERS / f"{one.name}.json"
    path.write_text(json.dumps(one.inputs()))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in one.sides}
    for turn in range(repeats):
        for name, script, side, env in one.sides:
            if (
                turn
                and env.get("BATCH")
                and _rate(runs[name]) < max(_rate(r) for n, r in runs.items() if "batch " in n)
            ):
                continue  # the harness is repeated at its best batch size only
            # Ours in its own environment: a peer's may hold other versions of the packages that both use.
            runs_in = sys.executable if name.startswith("whichway") else python
            result = _timed([runs_in, str(HERE / "sides" / script), side, str(path)], env, anyway)
            runs[name].append(result)
            print(f"{one.name:14} {name:40} {result['rows'] / result['seconds']:9.1f} {one.unit}", flush=True)
    return {name: _summed(all_) for name, all_ in runs.items()}


def _timed(command: list[str], env: dict[str, str], anyway: bool) -> dict[str, Any]:
    """Run one side on a quiet machine; a run that others disturbed is repeated, twice at most."""
    _wait_for_quiet(anyway)
    for attempt in range(3):
        before = _jiffies()
        done = subprocess.run(
            command, env={**os.environ, "TOKENIZERS_PARALLELISM": "false", **env}, capture_output=True, text=True
        )
        after = _jiffies()
        said = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not said:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        result: dict[str, Any] = json.loads(said[-1][7:])
        result["seconds"] -= result.pop("not_counted_s", 0.0)
        result["foreign"] = round(_foreign(before, after), 3)
        if result["foreign"] <= FOREIGN or anyway or attempt == 2:
            return result
        print(f"others used {100 * result['foreign']:.0f} % of the machine: measuring again", flush=True)
    raise AssertionError


def _jiffies() -> tuple[float, float, float]:
    """Return CPU seconds of the machine, of our finished children, and the time."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    times = os.times()
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    return busy, times.children_user + times.children_system + times.user + times.system, time.monotonic()


def _foreign(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """Return the share of all cores that other processes used in between."""
    busy, own, wall = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, busy - own) / (max(wall, 1e-6) * (os.cpu_count() or 1))


def _wait_for_quiet(anyway: bool) -> None:
    end = time.monotonic() + WAIT_S
    while not anyway:
        before = _jiffies()
        time.sleep(1)
        if _foreign(before, _jiffies()) <= FOREIGN:
            return
        if time.monotonic() > end:
            sys.exit(f"Another process has kept this machine busy for {WAIT_S} s: stop it, or give --anyway.")


def _summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [one["seconds"] for one in runs]
    middle = statistics.median(seconds)
    return {
        "seconds": [round(one, 3) for one in seconds],
        "rows_per_s": round(runs[0]["rows"] / middle, 2),
        "spread": round((max(seconds) - min(seconds)) / middle, 3),
        "quality": round(statistics.mean(one["quality"] for one in runs), 4),
        "peak_mb": max(one["peak_mb"] for one in runs),
        "foreign": max(one["foreign"] for one in runs),
        "flops_per_s": round(runs[0]["flops"] / middle) if "flops" in runs[0] else None,
    }


def _rate(runs: list[dict[str, Any]]) -> float:
    return max((one["rows"] / one["seconds"] for one in runs), default=0.0)


def _environment(needs: tuple[str, ...]) -> str:
    """Return the Python that runs a measure: ours, or one that adds the peer's packages to ours under .bench/."""
    if not needs:
        return sys.executable
    folder = PEERS / "-".join(needs)
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"setting up {folder} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        ours = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        theirs = next(folder.glob("lib/python*/site-packages"))
        (theirs / "ours.pth").write_text(f"{ours}\n{ROOT / 'src'}\n")
        listed = [word for one in needs for word in (HERE / f"peers-{one}.txt").read_text().split()]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *listed], check=True)
        (folder / "ready").touch()
    return str(python)


def _prefix_inputs(candidates: int, rows: int) -> dict[str, Any]:
    """Prompts of about 480 shared tokens: sms_spam's messages behind shown examples, other ones for each candidate."""
    train, test = _rows("sms_spam", "train"), _rows("sms_spam", "test")[:rows]
    shown, groups = random.Random(1), []
    for _ in range(candidates):
        start = "Say whether the text message is spam or ham (a normal message).\n\n"
        while len(start) < 1500:
            one = shown.choice(train)
            start += f"Message: {one['input']}\nAnswer: {one['output']}\n\n"
        groups.append([f"{start}Message: {one['input']}\nAnswer:" for one in test])
    labels = [" ham", " spam"]
    targets = [labels.index(" " + one["output"]) for one in test]
    return {"model": _causal(), "groups": groups, "labels": labels, "targets": targets}


def _many_labels(rows: int) -> dict[str, Any]:
    """banking77's messages behind a short instruction, 77 labels of several tokens."""
    test = random.Random(2).sample(_rows("banking77", "test"), rows)
    names = sorted({one["output"] for one in _rows("banking77", "test")})
    prompts = [f"The customer writes: {one['input']}\nIntent:" for one in test]
    labels = [" " + name.replace("_", " ") for name in names]
    return {
        "model": _causal(),
        "groups": [prompts],
        "labels": labels,
        "targets": [names.index(one["output"]) for one in test],
    }


def _training(rows: int) -> dict[str, Any]:
    """Pairs of sms_spam for training and 200 others to look at the result."""
    train, held = random.Random(3).sample(_rows("sms_spam", "train"), rows), _rows("sms_spam", "test")[:200]
    form = "Message: {input}\nAnswer:"
    return {
        "model": _causal(),
        "prompts": [form.format(**one) for one in train],
        "completions": [" " + one["output"] for one in train],
        "held_prompts": [form.format(**one) for one in held],
        "held_completions": [" " + one["output"] for one in held],
        "labels": [" ham", " spam"],
    }


def _writing(rows: int) -> dict[str, Any]:
    """Messages behind an instruction of about 200 tokens, to be continued by 40."""
    start = "Here are messages of customers, each with a polite answer of one sentence.\n\n"
    for one in _rows("sms_spam", "train")[:6]:
        start += f"Message: {one['input'][:100]}\nAnswer: Thank you for your message, we are looking into it.\n\n"
    some = _rows("sms_spam", "test")[:rows]
    return {"model": _causal(), "new": 40, "prompts": [f"{start}Message: {one['input']}\nAnswer:" for one in some]}


def _texts(rows: int) -> dict[str, Any]:
    from whichway.models.embedded import encoder_folder

    some = random.Random(4).sample(_rows("banking77", "test"), rows)
    return {
        "model": str(encoder_folder()),
        "texts": [one["input"] for one in some],
        "targets": [one["output"] for one in some],
    }


def _rows(name: str, part: str) -> list[dict[str, str]]:
    path = DATA / name / f"{part}.jsonl"
    if not path.exists():
        sys.exit(f"{path} is missing: set WHICHWAY_DATA to the folder of measuring data.")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _causal() -> str:
    from whichway.models.embedded import causal_folder

    return str(causal_folder())


def _peak() -> float:
    """Return operations per second of a large bf16 matrix product here: the roof."""
    import torch

    size, device = (8192, "cuda") if _gpu() else (2048, "cpu")
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        float((a @ b)[0, 0])  # reading one number waits for a GPU
        seconds.append(time.perf_counter() - began)
    return round(2 * size**3 / statistics.median(seconds))


def _gpu() -> str:
    """Return the name of the GPU; empty without one."""
    import torch

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


def _machine() -> str:
    import torch

    name = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), "")
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    gpu = f"one {_gpu()}, " if _gpu() else ""
    return f"{gpu}{os.cpu_count()} cores of {name}, {software}, {time.strftime('%Y-%m-%d')}"


def _table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Speed, side by side",
        "",
        f"`make bench`, on {found.get('machine', '')}. Ratio: the others' median seconds over whichway's.",
        "",
    ]
    columns = ["measure", "side", "rows/s", "ratio", "quality", "spread", "of the roof", "peak MB", "others' CPU"]
    lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for name, sides in found["measures"].items():
        ours = next(iter(sides.values()))["rows_per_s"]
        for side, one in sides.items():
            roof = f"{100 * one['flops_per_s'] / found['peak_flops_per_s']:.0f} %" if one.get("flops_per_s") else ""
            lines.append(
                f"| {name} | {side} | {one['rows_per_s']:.1f} | {ours / one['rows_per_s']:.2f} | {one['quality']:.3f} "
                f"| {100 * one['spread']:.0f} % | {roof} | {one['peak_mb']} | {100 * one['foreign']:.0f} % |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
