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
