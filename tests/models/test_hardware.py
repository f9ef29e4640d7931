"""Which number format models compute in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from whichway.errors import UsageError  # noqa: E402
from whichway.models import hardware  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has one format")
def test_the_number_format_can_be_chosen_and_an_unknown_one_names_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose = hardware.dtype.__wrapped__  # without the cache, which the tests around share
    monkeypatch.setenv("WHICHWAY_DTYPE", "fp32")
    assert choose() is torch.float32
    monkeypatch.setenv("WHICHWAY_DTYPE", "float32")
    with pytest.raises(UsageError, match="'float32'") as told:
        choose()
    assert "bf16, fp32" in told.value.fix


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]
)
def test_threads_spin_little_for_each_other_unless_the_user_says_how(given: dict[str, str], wanted: str | None) -> None:
    kept = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import whichway, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    said = subprocess.run([sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(wanted)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_memory_that_is_free_between_what_lives_on_is_given_back() -> None:
    code = """
import numpy as np
from whichway.models import hardware
def resident():
    return next(int(line.split()[1]) // 1024 for line in open('/proc/self/status') if line.startswith('VmRSS'))
hardware.keep_memory()
every = [np.ones(1 << 17) for _ in range(400)]  # 1 MB each
alive = every[::40]
del every
kept = resident()
hardware.give_memory_back()
print(kept, resident(), len(alive))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(said[0]) > 380 and int(said[1]) < int(said[0]) - 300


def test_no_bar_of_a_library_is_drawn_by_the_program_though_torch_brings_tqdm_first() -> None:
    code = """
import sys
from whichway.cli import main
sys.argv = ["whichway", "--help"]
try:
    main()
except SystemExit:
    import torch
    from tqdm.auto import tqdm
    list(tqdm(range(3)))
"""
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "init" in ran.stdout and not ran.stderr
