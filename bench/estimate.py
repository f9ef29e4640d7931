"""What a plan says endpoints will cost, against the bill of a local server that counts tokens as real tokenizers do: 40 runs."""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "models"))

from fault_server import Fault, FaultServer, Seen, answer

from whichway.intake.load import load_task
from whichway.models.embedded import causal_folder, encoder_folder
from whichway.study.lines import make_lines
from whichway.study.plan import make_plan
from whichway.study.run import Options, Watcher, run_study
from whichway.study.split import make_split

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PRICE = {"input": 0.4, "output": 1.6}
CLOSE = 0.25
WAYS = (  # a run's ways; the last ones search, and are told apart
    ("prompt-zero@stub",),
    ("prompt-few@stub", "majority"),
    ("prompt-nearest@stub", "majority"),
    ("prompt-zero@stub", "prompt-few@stub"),
    ("prompt-zero@stub", "prompt-few@stub", "prompt-nearest@stub", "majority"),
)
TASKS = ("support_triage", "contract_clauses", "clinical_coding", "payment_fraud", "invoice_fields", "product_copy")
SEARCHES = ("optimise@stub", "optimise@stub", "optimise@stub", "reflect@stub", "reflect@stub")


@dataclass(frozen=True)
class Play:
    """One run: a task, its rows, the ways, how long the instruction is, how many examples are shown, whose tokens count."""

    task: str
    rows: int
    ways: tuple[str, ...]
    longer: int
    shots: int
    tokenizer: str
    judge: bool = False

    @property
    def is_search(self) -> bool:
        return any(way in self.ways for way in SEARCHES)


def plays() -> list[Play]:
    """Return 40 runs, 35 without a search."""
    rng, found = random.Random(1), []
    for number, (task, ways) in enumerate(itertools.product(TASKS, WAYS)):
        judge = task == "product_copy" and number % 2 == 0
        sizes = (rng.choice((120, 170, 240, 320)), ways, rng.choice((1, 1, 4, 12)), rng.choice((0, 3, 12)))
        found.append(Play(task, *sizes, ("SmolLM2", "MiniLM")[number % 2], judge))
    for number in range(5):
        ways = (("rag@stub",), ("rag@stub", "prompt-zero@stub"))[number % 2]
        found.append(Play("policy_faq", 120 + 40 * number, ways, 1, 0, ("SmolLM2", "MiniLM")[number % 2]))
    for number, way in enumerate(SEARCHES):
        found.append(Play(TASKS[number], 170, (way,), 1, 0, ("SmolLM2", "MiniLM")[number % 2]))
    return found


def tokenizers() -> dict[str, Any]:
    """Return the tokenizers of the two embedded models."""
    from tokenizers import Tokenizer

    found = {}
    for name, folder in (("SmolLM2", causal_folder()), ("MiniLM", encoder_folder())):
        found[name] = Tokenizer.from_file(str(folder / "tokenizer.json"))
        found[name].no_truncation()
        found[name].no_padding()
    return found


class Stub:
    """Answers like a fair model, better with examples than without, and keeps the bill."""

    def __init__(self, rows: list[dict[str, Any]], tokenizer: Any) -> None:
        self.tokenizer, self.guard = tokenizer, threading.Lock()
        self.known = [(_values(one["input"]), _text(one["output"], " | ")) for one in rows]
        self.answers = [text for _, text in self.known]
        self.calls = self.tokens_in = self.tokens_out = 0

    def __call__(self, seen: Seen) -> Fault:
        messages, shape = seen.body["messages"], seen.body.get("response_format")
        text, most = self._said(messages, shape), seen.body["max_tokens"]
        prompt = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in messages)
        counted, finish = [self._count(prompt), self._count(text)], "stop"
        if counted[1] > most:  # a token has three characters or more in these texts, mostly
            text, counted[1], finish = text[: 3 * most], most, "length"
        usage = {"prompt_tokens": counted[0], "completion_tokens": counted[1], "total_tokens": sum(counted)}
        with self.guard:
            self.calls += 1
            self.tokens_in += counted[0]
            self.tokens_out += counted[1]
        return Fault(body=answer(text, finish, usage=usage))

    def _said(self, messages: list[dict[str, str]], shape: Any) -> str:
        asked = messages[-1]["content"]
        chance = random.Random(asked)
        if "Verdict: 1" in asked or "Grade: and" in asked:
            why = "It says what was asked for" + ", and says it well" * chance.randint(0, 5)
            return f"{why}.\n{'Grade: 4' if 'Grade: and' in asked else 'Verdict: 1'}"
        right = next((text for values, text in self.known if all(one in asked[-3000:] for one in values)), None)
        if right is None and not shape:
            return "```\n" + "Answer with care, as the examples do. " * chance.randint(10, 60) + "\n```"
        skill = 0.85 if len(messages) > 3 else 0.65
        text = right if right is not None and chance.random() < skill else chance.choice(self.answers)
        schema = shape["json_schema"]["schema"] if shape else {}
        names = schema.get("properties", {}).get("label", {}).get("enum")
        if names:
            return json.dumps({"label": text.replace("_", " ") if text.replace("_", " ") in names else names[0]})
        return text

    def _count(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    @property
    def usd(self) -> float:
        return (self.tokens_in * PRICE["input"] + self.tokens_out * PRICE["output"]) / 1e6


def _values(said: Any) -> list[str]:
    return [said] if isinstance(said, str) else [str(one) for one in said.values() if one not in ("", None)]


def _text(value: Any, between: str = "\n") -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return between.join(map(str, value))
    return (
        json.dumps(value, ensure_ascii=False) if between == " | " else "\n".join(f"{k}: {v}" for k, v in value.items())
    )


def one_run(play: Play, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Plan a study, run it, and return what was expected and what was billed."""
    source = EXAMPLES / play.task
    rows = [json.loads(line) for line in (source / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = random.Random(play.rows).sample(rows, min(len(rows), play.rows))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = yaml.safe_load((source / "task.yaml").read_text(encoding="utf-8"))
    said["instruction"] = " ".join(
        [said["instruction"], *["Read the whole text before you answer."] * (play.longer - 1)]
    )
    said["budget"], said["constraints"] = {"minutes": 20, "usd": 50}, {}
    said["strategies"] = {"settings": {"prompt-few@stub": {"shots": play.shots}} if play.shots else {}}
    said["strategies"]["settings"] |= {"optimise@stub": {"gate": False}, "reflect@stub": {"gate": False}}
    if "documents" in said:
        said["documents"] = str(source / said["documents"])
    if play.judge:
        said["judge"] = {"model": "stub"}
    stub = Stub(rows, tokenizer)
    with FaultServer(stub) as server:
        at = {"base_url": server.base_url, "model": "small", "price": PRICE, "max_concurrency": 4}
        said["models"] = {"endpoints": {"stub": at}}
        (folder / "task.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
        loaded = load_task(folder / "task.yaml")
        lines = make_lines(loaded.task, loaded.settings, play.ways)
        split = make_split(loaded.examples, loaded.test, loaded.settings.seed)
        plan = make_plan(loaded.task, loaded.examples, split, lines, loaded.settings)
        report = run_study(loaded, folder / "run", Options(only=play.ways), Watcher())
    return {
        "task": play.task,
        "rows": len(rows),
        "ways": ", ".join(play.ways),
        "tokenizer": play.tokenizer,
        "is_search": play.is_search,
        "expected_usd": round(plan.usd, 6),
        "most_usd": round(plan.most_usd, 6),
        "billed_usd": round(stub.usd, 6),
        "booked_usd": report["spent"]["usd"],
        "calls": stub.calls,
        "ratio": round(plan.usd / max(1e-9, stub.usd), 3),
        "expected": {one.line.name: [one.calls, round(one.usd, 5), round(one.test_usd, 5)] for one in plan.estimates},
        "spent": [[one["strategy"], one["phase"], one["usd"]] for one in report["spend_by"] if one["usd"]],
        "finalists": [one["strategy"] for one in report["trials"] if one["test"]],
        "ends": [f"{one['strategy']}: {one['state']}" for one in report["trials"] if one["state"] != "done"],
    }


def main() -> None:
    """Run them all; print each, and the shares within 25 % and below the bound."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", type=str, default="", help="numbers of runs, such as 0,5,7")
    wanted = {int(one) for one in re.findall(r"\d+", asked.parse_args().only)}
    known, found = tokenizers(), []
    for number, play in enumerate(plays()):
        if wanted and number not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found.append(one_run(play, known[play.tokenizer], Path(folder)))
        print(number, json.dumps(found[-1]), flush=True)
    plain, searches = ([one for one in found if one["is_search"] is kind] for kind in (False, True))
    for name, some in (("all", found), ("without a search", plain), ("with a search", searches)):
        close = sum(abs(one["ratio"] - 1) <= CLOSE for one in some)
        under = sum(one["billed_usd"] <= one["most_usd"] for one in some)
        print(f"{name}: {close} of {len(some)} within 25 % of the bill; {under} below the bound")
    print(
        f"booked = billed in {sum(abs(one['booked_usd'] - one['billed_usd']) < 1e-6 for one in found)} of {len(found)}"
    )


if __name__ == "__main__":
    main()
