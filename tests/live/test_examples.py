"""The examples and the report's templates reach a user who has no checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from whichway import load_task
from whichway.errors import UsageError
from whichway.live import examples
from whichway.live.examples import example_task
from whichway.study.lines import make_lines
from whichway.study.plan import make_plan
from whichway.study.split import make_split

HOME = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in (HOME / "examples").glob("*/task.yaml"))
MOST_MINUTES = 5.5  # of a budget; start-up, the finalists' last answers and the report come on top, within six


def files_below(folder: Path) -> set[str]:
    """Every file that is part of the package, relative to the folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


def test_every_folder_with_files_is_a_package_of_the_project() -> None:
    said = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["setuptools"]
    inside = {"whichway", *("whichway/" + Path(one).parent.as_posix() for one in files_below(HOME / "src/whichway"))}
    inside |= {"whichway/examples/" + Path(one).parent.as_posix() for one in files_below(HOME / "examples")}
    wanted = {one.removesuffix("/.").replace("/", ".") for one in inside} | {"whichway.examples"}
    assert set(said["packages"]) == wanted
    endings = {one.removeprefix("*") for one in said["package-data"]["*"]} | {".py"}
    files = files_below(HOME / "src/whichway") | files_below(HOME / "examples")
    assert {Path(one).suffix for one in files} <= endings


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_sources_and_of_the_examples(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(HOME / name, copy / name)
    for name in ("src", "examples"):
        shutil.copytree(HOME / name, copy / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, copy]
    done = subprocess.run([str(one) for one in pip], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
        wheel.extractall(tmp_path / "site")
    assert {f"whichway/{one}" for one in files_below(HOME / "src/whichway")} <= held
    assert {f"whichway/examples/{one}" for one in files_below(HOME / "examples")} <= held
    asked = "from whichway.live.examples import example_task; print(example_task('support_triage'))"
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(tmp_path / "site/whichway/examples/support_triage/task.yaml"), done.stderr


def test_an_example_is_found_and_a_strange_name_is_refused_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert example_task("payment_fraud").is_file()
    for name in ("nothing", "..", "../examples/support_triage", "support_triage/"):
        with pytest.raises(UsageError) as caught:
            example_task(name)
        assert "support_triage" in caught.value.fix
    monkeypatch.setattr(examples, "_places", lambda: [tmp_path])
    with pytest.raises(UsageError, match="no example"):
        example_task("support_triage")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_planned_and_ends_within_six_minutes(name: str) -> None:
    loaded = load_task(HOME / "examples" / name / "task.yaml")
    split = make_split(loaded.examples, loaded.test, loaded.settings.seed)
    lines = make_lines(loaded.task, loaded.settings)
    plan = make_plan(loaded.task, loaded.examples, split, lines, loaded.settings)
    assert plan.estimates and plan.expectation and plan.usd == 0
    assert all(one.excluded for one in plan.excluded)
    assert loaded.settings.budget.minutes <= MOST_MINUTES


def test_the_examples_are_those_that_the_readme_promises() -> None:
    assert len(NAMES) == 7
