"""Fine-tuning jobs of `whichway serve --training`: rows that are refused, ends that are kept, and checkpoints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_serving import BASE, chats

from whichway.live.serving import job as work
from whichway.live.serving.files import Files
from whichway.live.serving.jobs import Tuning
from whichway.live.serving.refusal import Refusal
from whichway.models import checkpoint


@pytest.mark.slow
def test_a_job_whose_server_is_gone_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder = Files(tmp_path / "files"), tmp_path / "job"
    file = files.keep("rows.jsonl", "fine-tune", chats(tmp_path, 12).read_bytes())["id"]
    folder.mkdir()
    hyper = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
    job = {"id": "ftjob-1", "model": BASE, "suffix": "x", "seed": 0, "status": "running", "hyperparameters": hyper}
    (folder / "job.json").write_text(json.dumps({**job, "training_file": file, "validation_file": None}))

    def steps() -> list[int]:
        path = folder / "events.jsonl"
        events = [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []
        return [one["data"]["step"] for one in events if one["data"]]

    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    monkeypatch.setattr(work, "TOLD_EVERY_S", 0.0)
    monkeypatch.setattr(work.os, "getppid", lambda: 2 if max(steps(), default=0) >= 3 else 1)
    with pytest.raises(SystemExit, match="The server is gone"):
        work._train(folder, files.folder, "embedded")
    before = steps()
    assert max(before) == 3 and json.loads((folder / "job.json").read_text())["status"] == "running"
    monkeypatch.setattr(work.os, "getppid", lambda: 1)
    work._train(folder, files.folder, "embedded")
    after = steps()[len(before) :]
    assert min(after) > 2 and max(after) == 6, "what was learned before is not learned again"
    done = json.loads((folder / "job.json").read_text())
    assert done["status"] == "succeeded" and (folder / "weights" / "adapter_config.json").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not json\n" * 12, "Line 1 is no"),
        (b'{"messages": [{"role": "user", "content": "x"}]}\n', "Line 1 does not end in a text of the assistant"),
        (b"\n\n", "no rows"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    files = Files(tmp_path / "files")
    tuning = Tuning(tmp_path / "tuning", files)
    try:
        with pytest.raises(Refusal, match=re.escape(says)):
            files.add("rows.jsonl", "fine-tune", content)
        with pytest.raises(Refusal, match="cannot be fine-tuned here"):
            tuning.create({"model": "gpt", "training_file": "file-x"})
        with pytest.raises(Refusal, match="There is no file"):
            tuning.create({"model": BASE, "training_file": "../../x"})
    finally:
        tuning.close()


def test_a_job_needs_ten_rows_to_learn_from_and_one_to_be_judged_by(tmp_path: Path) -> None:
    files = Files(tmp_path / "files")
    tuning = Tuning(tmp_path / "tuning", files)
    tuning.close()  # nothing is to be trained here
    row = b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n'
    one, nine, ten = (files.add("rows.jsonl", "fine-tune", row * count)["id"] for count in (1, 9, 10))
    with pytest.raises(Refusal, match="has 9 rows; a job needs 10"):
        tuning.create({"model": BASE, "training_file": nine})
    made = tuning.create({"model": BASE, "training_file": ten, "validation_file": one})
    assert made["status"] == "queued"


def test_a_job_that_ends_while_its_server_does_stays_ended(tmp_path: Path) -> None:
    tuning, folder = with_a_child(tmp_path, "succeeded")
    tuning.close()
    assert tuning.job("ftjob-1")["status"] == "succeeded" and tuning.tuned() == ["ft:x"]
    (folder / "job.json").unlink()
    tuning, _ = with_a_child(tmp_path, "running")
    tuning.close()
    assert tuning.job("ftjob-1")["status"] == "queued"


def test_a_job_that_ends_just_before_it_is_cancelled_stays_ended(tmp_path: Path) -> None:
    tuning, folder = with_a_child(tmp_path, "running", ends_well=True)
    with pytest.raises(Refusal, match="is succeeded, so it cannot become cancelled"):
        tuning.change("ftjob-1", "cancelled")
    assert json.loads((folder / "job.json").read_text())["status"] == "succeeded"
    tuning.close()


def with_a_child(where: Path, status: str, ends_well: bool = False) -> Any:
    """Return jobs of which one has a process under way, and its folder; asked to stop, it may still write how it ended."""

    tuning, folder = Tuning(where / "tuning", Files(where / "files")), where / "tuning" / "jobs" / "ftjob-1"
    folder.mkdir(parents=True, exist_ok=True)
    said = {"id": "ftjob-1", "created_ns": 1, "fine_tuned_model": "ft:x", "training_file": "f", "validation_file": None}
    ends = f"open({str(folder / 'job.json')!r}, 'w').write({json.dumps({**said, 'status': 'succeeded'})!r})"
    code = f"import signal, sys, time\nsignal.signal(15, lambda *_: ({ends if ends_well else 0}, sys.exit(0)))\n"
    with tuning._lock:
        (folder / "job.json").write_text(json.dumps({**said, "status": status}))
        child = subprocess.Popen(
            [sys.executable, "-c", code + "print('ready', flush=True)\ntime.sleep(60)"], stdout=subprocess.PIPE
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        tuning._child = ("ftjob-1", child)
    return tuning, folder
