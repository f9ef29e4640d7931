"""One finished study that several test files look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import ONLY, make_task, whichway


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a task whose run lies in `run`, with what the command printed in `out` and `err`."""
    folder = tmp_path_factory.mktemp("finished")
    make_task(folder)
    done = whichway("run", folder / "task.yaml", "--out", folder / "run", *ONLY)
    assert done.returncode == 0, done.stderr
    (folder / "out").write_text(done.stdout)
    (folder / "err").write_text(done.stderr)
    return folder
