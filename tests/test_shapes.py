"""Studies of tasks whose answers are text or objects, as whole commands: found, skipped, measured, shown, used again."""

from __future__ import annotations

import json
import random
import re

import pytest
from fault_server import Fault, FaultServer, Seen, answer, to_probe
from studies import report_of, whichway

PLACES = ["annex", "boathouse", "cellar", "dovecote", "foundry", "granary", "icehouse", "lodge", "mill", "orangery"]
OPENS = {place: f"The {place} opens at {6 + i} o'clock." for i, place in enumerate(PLACES)}
ASKS = [
    "when does the {} open",
    "opening hours of the {} please",
    "from what time may I enter the {}",
    "is the {} open at nine",
]


def write_faq(folder, unknown: int = 0) -> None:
    """Write documents, and questions that they answer; `unknown` further ones have no answer."""
    documents = [
        {
            "id": place,
            "title": f"About the {place}",
            "text": f"{said}\n\nIts roof is old. Visitors of the {place} bring shoes.",
        }
        for place, said in OPENS.items()
    ]
    rows = [
        {"id": f"q{i}-{j}", "input": ask.format(place), "output": OPENS[place], "gold_doc_ids": [place]}
        for i, place in enumerate(PLACES)
        for j, ask in enumerate(ASKS)
    ]
    odd = [
        "train",
        "parrot",
        "invoice",
        "volcano",
        "sonata",
        "tax",
        "river",
        "planet",
        "noodle",
        "passport",
        "glacier",
        "lawsuit",
    ]
    rows += [
        {"id": f"u{i}", "input": f"what does a {odd[i % 12]} cost in year {i}", "output": "I do not know."}
        for i in range(unknown)
    ]
    random.Random(1).shuffle(rows)
    for name, lines in (("documents.jsonl", documents), ("rows.jsonl", rows)):
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")


@pytest.mark.slow
def test_a_faq_with_documents_is_found_measured_and_answered_with_its_sources(tmp_path):
    write_faq(tmp_path)
    assert whichway("init", "rows.jsonl", "--target", "output", cwd=tmp_path).returncode == 0
    said = (tmp_path / "task.yaml").read_text(encoding="utf-8")
    (tmp_path / "task.yaml").write_text(
        re.sub(r"output:\n  shape: \w+(\n .*)*", "output: {shape: text}", said).replace("accuracy", "token_f1")
    )
    assert 'documents: "documents.jsonl"' in said
    done = whichway("run", "task.yaml", "--only", "majority,classic,extractive", "--out", "run", cwd=tmp_path)
    assert done.returncode in (0, 6), done.stderr
    report = report_of(tmp_path / "run")
    trials = {one["strategy"]: one for one in report["trials"]}
    assert trials["classic"]["state"] == "skipped" and "serves labels" in trials["classic"]["reason"]
    assert trials["extractive"]["validation"]["value"] > 0.9 > trials["majority"]["validation"]["value"]
    assert trials["extractive"]["retrieval"]["hit@1"] >= 0.8 and not trials["majority"]["retrieval"]
    assert report["task"]["output"]["shape"] == "text" and report["task"]["documents"] == len(PLACES)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    tried = trials["extractive"]["lookup"]["tried"]
    assert {one["mode"] for one in tried} == {"lexical", "dense", "fused"} and not trials["majority"]["lookup"]
    assert "How documents are cut and found" in page
    assert "Are the right documents found?" in page and "ndcg@" in page and "Coverage and score of extractive" in page
    (tmp_path / "new.jsonl").write_text('{"id": "n1", "input": "opening hours of the mill"}\n')
    done = whichway("predict", "run", "new.jsonl", "--strategy", "extractive", "-o", "out.jsonl", cwd=tmp_path)
    (answer,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert answer["output"] == OPENS["mill"] and answer["sources"] == ["mill"]
    other_documents_are_answered_from_at_once(tmp_path)


def other_documents_are_answered_from_at_once(folder) -> None:
    """The mill's document is gone and a pier's has come: nothing is refitted, and no stored answer of the mill is given."""
    lines = [json.loads(one) for one in (folder / "documents.jsonl").read_text().splitlines()]
    kept = [one for one in lines if one["id"] != "mill"]
    kept.append({"id": "pier", "title": "About the pier", "text": "The pier opens at 23 o'clock.\n\nIts roof is new."})
    (folder / "other.jsonl").write_text("".join(json.dumps(one) + "\n" for one in kept))
    asked = ("opening hours of the pier please", "opening hours of the mill")
    (folder / "new.jsonl").write_text(
        "".join(json.dumps({"id": f"n{i}", "input": one}) + "\n" for i, one in enumerate(asked))
    )
    words = ("predict", "run", "new.jsonl", "--strategy", "extractive", "-o", "out.jsonl", "--documents", "other.jsonl")
    evidence = {one: one.read_bytes() for one in (folder / "run").glob("*.json")}
    done = whichway(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 added, 0 changed, 1 dropped; indexed in run/documents/extractive" in done.stderr
    assert "none changed\n" in whichway(*words, cwd=folder).stderr
    assert evidence == {one: one.read_bytes() for one in (folder / "run").glob("*.json")}
    pier, mill = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert pier["output"] == "The pier opens at 23 o'clock." and pier["sources"] == ["pier"]
    assert mill["output"] != OPENS["mill"] and "mill" not in mill.get("sources", ())
    done = whichway("predict", "run", "new.jsonl", "--strategy", "majority", "--documents", "other.jsonl", cwd=folder)
    assert done.returncode == 2 and "looks nothing up" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_questions_without_an_answer_teach_when_to_say_so(tmp_path):
    write_faq(tmp_path, unknown=60)
    (tmp_path / "task.yaml").write_text(
        "task: faq\ninstruction: Answer.\ndata: rows.jsonl\ndocuments: documents.jsonl\ninputs: [input]\ntarget: output\n"
        "output: {shape: text}\nmetric: token_f1\nbudget: {minutes: 5, usd: 0}\n"
    )
    done = whichway("run", "task.yaml", "--only", "extractive", "--out", "run", cwd=tmp_path)
    (trial,) = [one for one in report_of(tmp_path / "run")["trials"] if one["strategy"] == "extractive"]
    assert trial["validation"]["value"] > 0.75, done.stderr  # answering everything is right for 40 of 100 rows
    (tmp_path / "new.jsonl").write_text('{"id": "n1", "input": "what does a comet cost in year 9"}\n')
    whichway("predict", "run", "new.jsonl", "--strategy", "extractive", "-o", "out.jsonl", cwd=tmp_path)
    (answer,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert answer["output"] == "I do not know." and answer["unknown"] and "sources" not in answer


def test_objects_are_compared_field_by_field(tmp_path):
    rows = [
        {
            "id": f"r{i}",
            "input": f"paid {i % 4} euro",
            "output": {"sum": i % 4, "currency": "EUR", "notes": ["a"] * (i % 2)},
        }
        for i in range(60)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert whichway("init", "rows.jsonl", cwd=tmp_path).returncode == 0
    said = (tmp_path / "task.yaml").read_text()
    assert "shape: fields" in said and "currency:" in said and "additionalProperties: false" in said
    done = whichway("run", "task.yaml", "--only", "majority", "--out", "run", cwd=tmp_path)
    assert done.returncode in (0, 6), done.stderr
    report = report_of(tmp_path / "run")
    found = {one["label"]: one["scores"]["majority"]["f1"] for one in report["per_class"]}
    assert found["currency"] == 1.0 and found["sum"] < 0.6
    assert report["trials"][0]["parsed"] == 1.0


def test_objects_are_asked_for_from_an_endpoint_by_their_schema(tmp_path):
    lines = [{"id": f"r{i}", "input": f"paid {i} euro", "output": {"sum": i, "currency": "EUR"}} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))

    def script(seen: Seen) -> Fault:
        if probe := to_probe(seen):
            return probe
        paid = int(re.search(r"paid (\d+) euro", seen.body["messages"][-1]["content"])[1])
        return Fault(body=answer(json.dumps({"sum": paid + (paid % 5 == 0), "currency": "EUR"})))

    with FaultServer(script) as server:
        (tmp_path / "task.yaml").write_text(
            "task: sums\ninstruction: Read the sum.\ndata: rows.jsonl\ninputs: [input]\ntarget: output\n"
            "output: {shape: fields}\nmetric: exact_record\nbudget: {minutes: 3, usd: 1}\n"
            f"models: {{endpoints: {{big: {{base_url: '{server.base_url}', model: m, price: {{input: 1, output: 1}}}}}}}}\n"
        )
        done = whichway("run", "task.yaml", "--only", "prompt-zero@big", "--out", "run", cwd=tmp_path)
        assert done.returncode in (0, 6), done.stderr
        schemas = [
            one.body["response_format"]["json_schema"]["schema"] for one in server.log if "paid" in str(one.body)
        ]
    assert schemas and all(set(one["properties"]) == {"sum", "currency"} for one in schemas)
    (trial,) = report_of(tmp_path / "run")["trials"]
    assert trial["state"] == "done" and trial["validation"]["value"] == pytest.approx(0.8, abs=0.01)
