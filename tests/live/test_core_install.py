"""Without the packages of the extra `local` everything else works, and what does not names the extra."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from studies import make_task, report_of, whichway
from test_shapes import write_faq

HIDING = """
import importlib.util, sys
GONE = {"torch", "transformers", "sentence_transformers", "trl", "peft"}
seen = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.split(".")[0] in GONE else seen(name, package)
importlib.util.find_spec = find_spec
class Gone:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in GONE:
            raise ImportError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone)
"""


@pytest.fixture
def core(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds none of these packages."""
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING)
    paths = (str(tmp_path / "hiding"), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "WHICHWAY_CACHE": str(tmp_path / "cache")}


@pytest.mark.slow
def test_a_core_install_runs_what_it_can_and_names_the_extra_for_the_rest(tmp_path: Path, core: dict[str, str]) -> None:
    task, run = make_task(tmp_path, 90), tmp_path / "run"
    done = whichway("run", task, "--out", run, **core)
    assert done.returncode == 0, done.stderr
    trials = {one["strategy"]: one for one in report_of(run)["trials"]}
    ran = {name for name, one in trials.items() if one["state"] == "done"}
    assert ran == {"majority", "classic"}
    assert {"probe", "prompt-zero", "prompt-nearest", "encoder", "finetune", "hybrid"} <= set(trials)
    for name in set(trials) - ran:
        assert trials[name]["state"] == "skipped", trials[name]
        words = ("serves", "documents", "without labels", "able to reflect")
        no_fit = any(one in trials[name]["reason"] for one in words)
        assert "whichway[local]" in trials[name]["reason"] or no_fit, trials[name]
    (tmp_path / "in.jsonl").write_text('{"message": "parcel late courier box", "amount": 1}\n')
    done = whichway("predict", run, tmp_path / "in.jsonl", **core)
    assert json.loads(done.stdout)["output"] == "delivery"


@pytest.mark.slow
def test_a_core_install_looks_up_by_words(tmp_path: Path, core: dict[str, str]) -> None:
    write_faq(tmp_path)
    head = "task: t\ninstruction: Answer.\ndocuments: documents.jsonl\ninputs: [input]\ntarget: output\n"
    (tmp_path / "text.yaml").write_text(f"{head}data: rows.jsonl\noutput: {{shape: text}}\nmetric: token_f1\n")
    done = whichway("run", "text.yaml", "--out", "text", "--only", "majority,extractive,rag", cwd=tmp_path, **core)
    assert done.returncode in (0, 6), done.stderr
    trials = {one["strategy"]: one for one in report_of(tmp_path / "text")["trials"]}
    assert trials["extractive"]["state"] == "done", trials["extractive"]["reason"]
    assert trials["extractive"]["validation"]["value"] > trials["majority"]["validation"]["value"] + 0.3
    assert {one["mode"] for one in trials["extractive"]["lookup"]["tried"]} == {"lexical"}
    assert trials["rag"]["state"] == "skipped" and "needs torch" in trials["rag"]["reason"]
    (tmp_path / "new.jsonl").write_text('{"input": "opening hours of the mill"}\n')
    words = ("predict", "text", "new.jsonl", "--strategy", "extractive", "--documents", "documents.jsonl")
    done = whichway(*words, cwd=tmp_path, **core)
    assert json.loads(done.stdout)["sources"] == ["mill"], done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for row in rows:  # which place is meant stands in the question, what kind it is in its document alone
        row["output"] = "early" if "9" in str(row["output"]) or "10" in str(row["output"]) else "late"
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "labels.yaml").write_text(f"{head}data: labels.jsonl\n")
    done = whichway("run", "labels.yaml", "--out", "labels", "--only", "majority,rag-classic", cwd=tmp_path, **core)
    trials = {one["strategy"]: one for one in report_of(tmp_path / "labels")["trials"]}
    assert trials["rag-classic"]["state"] == "done", (done.stderr, trials["rag-classic"]["reason"])
    assert trials["rag-classic"]["retrieval"]["hit@5"] > 0.8


@pytest.mark.slow
def test_the_doctor_of_a_core_install_is_content_and_says_what_is_closed(tmp_path: Path, core: dict[str, str]) -> None:
    done = whichway("doctor", **core)
    assert done.returncode == 0, done.stderr
    assert "embedded models" in done.stdout and "Traceback" not in done.stderr
    asked = whichway("plan", make_task(tmp_path, 90), **core)
    assert asked.returncode == 0 and "whichway[local]" in asked.stdout
