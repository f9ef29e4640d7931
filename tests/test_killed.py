"""A run that is killed without warning, again and again, and then let end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from studies import ONLY, answers, command, environment, report_of, settled, strip_timing


def start_and_kill(words: list[str], after_s: float, folder: Path) -> None:
    """Start a run in a process group of its own and kill it without warning."""
    process = subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_killed_at_twenty_random_moments_a_run_loses_nothing_repeats_nothing_and_ends_the_same(finished, tmp_path):
    run, rng = tmp_path / "run", random.Random(20)
    words = command("run", finished / "task.yaml", "--out", run, "--fresh", *ONLY)  # copies of it lie beside it
    seen: list[tuple[dict, dict]] = []
    latest = 2.5  # seconds; on a busy machine nothing is committed by then, and kills come later and later
    for turn in range(20):
        latest *= 1.0 if any(units for units, _ in seen) else 1.1
        start_and_kill(words, rng.uniform(0.05, latest), run)
        if (run / "ledger.db").exists():
            copy = tmp_path / f"copy-{turn}"
            copy.mkdir()
            for file in run.glob("ledger.db*"):
                shutil.copy(file, copy)
            try:
                seen.append((settled(copy), answers(copy)))
            except Exception as error:  # killed before the tables were made: nothing was committed
                assert "no such table" in str(error)
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    final, said = settled(run), answers(run)
    assert len(seen) >= 5 and any(units for units, _ in seen)
    assert all(len(units) == 1 for units in final.values()), "a unit was executed and committed twice"
    for units, predicted in seen:
        assert units.items() <= final.items()
        assert predicted.items() <= said.items()
    assert said == answers(finished / "run")
    assert set(final) == set(settled(finished / "run"))
    assert strip_timing(report_of(run)) == strip_timing(report_of(finished / "run"))
