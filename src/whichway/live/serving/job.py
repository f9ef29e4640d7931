"""One fine-tuning job in a process of its own: `python -m whichway.live.serving.job JOB FILES MODEL`."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from whichway.core.strategy import Kit, Progress
from whichway.live.serving.files import write_json
from whichway.live.serving.jobs import add_event, read_rows
from whichway.registry import get

RATE = 5e-4  # of LoRA, times the job's multiplier
TOLD_EVERY_S = 2.0


def main() -> None:
    """Train LoRA weights on the rows of a job, and write down how it went."""
    folder, files, causal = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one whose server was killed has a moment to notice it
        _train(folder, files, causal)


def _train(folder: Path, files: Path, causal: str) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    model = get("model", "causal")(causal)
    train = _pairs(model, files, job["training_file"])
    dev = _pairs(model, files, job["validation_file"]) if job["validation_file"] else ((), ())
    wanted = job["hyperparameters"]
    settings = {"epochs": wanted["n_epochs"], "batch": wanted["batch_size"]}
    settings["rate"] = RATE * wanted["learning_rate_multiplier"]
    add_event(folder, f"Training on {len(train[0])} rows.")
    kit = Kit({"causal": model}, None, folder, job["seed"], progress=_teller(folder))
    trained = model.train(*train, settings, dev, folder / "weights", kit)
    name = f"ft:{job['model']}:{job['suffix']}:{job['id'][-8:]}"
    losses = list(trained.dev_losses)
    steps = -(-len(train[0]) // wanted["batch_size"]) * max(1, losses.index(min(losses)) + 1 if losses else 1)
    metrics: dict[str, Any] = {
        "step": steps,
        **({"full_valid_loss": round(min(losses), 6)} if job["validation_file"] and losses else {}),
    }
    checkpoint = {
        "id": f"ftckpt-{secrets.token_hex(8)}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(time.time()),
        "fine_tuned_model_checkpoint": name,
        "metrics": metrics,
        "step_number": steps,
    }
    write_json(folder / "checkpoint.json", {**checkpoint, "fine_tuning_job_id": job["id"]})
    add_event(folder, f"The fine-tuned model is ready: {name}.")
    done = {"status": "succeeded", "fine_tuned_model": name, "trained_tokens": trained.tokens}
    now = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if now["status"] == "running":  # it may have been cancelled at the last moment
        write_json(folder / "job.json", {**now, **done, "finished_at": int(time.time())})


def _pairs(model: Any, files: Path, id_: str) -> tuple[list[str], list[str]]:
    """Return prompts in the model's chat form, and what the assistant should say."""
    rows = read_rows((files / f"{id_}.jsonl").read_bytes())
    return [model.chat(chat[:-1]) for chat in rows], [chat[-1][1] for chat in rows]


def _teller(folder: Path) -> Any:
    last, parent = [0.0], os.getppid()

    def tell(progress: Progress) -> None:
        if os.getppid() != parent:
            raise SystemExit("The server is gone; it takes the job up again when it is started.")
        if progress.total and time.monotonic() - last[0] > TOLD_EVERY_S:
            last[0] = time.monotonic()
            data = {"step": int(progress.done), "total_steps": int(progress.total)}
            add_event(folder, f"Step {progress.done:.0f}/{progress.total:.0f}", data=data)

    return tell


if __name__ == "__main__":
    main()
