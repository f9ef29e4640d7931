"""The house rules that a machine can check: sizes, imports, speed, types, what is never called."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import whichway

HOME = Path(__file__).resolve().parent.parent
SOURCES = sorted((HOME / "src" / "whichway").rglob("*.py"))
HEAVY = ("torch", "transformers", "sklearn", "pandas", "pydantic", "openai", "sqlalchemy", "numpy", "scipy")
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS, MOST_NAMES = 400, 60, 7, 30
IMPORT_S, HELP_S, TRIES = 0.150, 0.300, 5
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def named(file: Path) -> str:
    return str(file.relative_to(HOME))


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=HOME, env=QUIET, capture_output=True, text=True, timeout=300, check=False)


def tool(name: str) -> str:
    """Return the path of a tool of this environment, or skip."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"{name} is not installed")
    return str(path)


def fastest(*words: str) -> float:
    """Return seconds of the fastest of a few runs."""
    found = []
    for _ in range(TRIES):
        began = time.perf_counter()
        assert run(*words).returncode == 0
        found.append(time.perf_counter() - began)
    return min(found)


def test_no_file_is_longer_than_400_lines():
    files = [*SOURCES, *(HOME / "tests").rglob("*.py"), *(HOME / "docs").rglob("*.py"), *(HOME / "bench").rglob("*.py")]
    sizes = {named(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


def test_no_function_is_longer_than_60_lines():
    sizes = {
        f"{named(file)}:{one.name}": (one.end_lineno or 0) - one.lineno + 1
        for file in SOURCES
        for one in functions(file)
    }
    assert {name: size for name, size in sizes.items() if size > MOST_FUNCTION_LINES} == {}


def test_no_function_takes_more_than_7_parameters():
    counts = {}
    for file in SOURCES:
        # What typer makes options of is the command line's own list, not a signature that code calls.
        for one in (one for one in functions(file) if not any("command" in ast.unparse(d) for d in one.decorator_list)):
            names = [*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs]
            counts[f"{named(file)}:{one.name}"] = len([name for name in names if name.arg not in ("self", "cls")])
    assert {name: count for name, count in counts.items() if count > MOST_PARAMETERS} == {}


def test_every_file_begins_with_its_purpose_in_one_line():
    missing = []
    for file in SOURCES:
        said, first = ast.get_docstring(parsed(file)), file.read_text(encoding="utf-8").split("\n", 1)[0]
        if not said or "\n" in said or not (first.startswith('"""') and first.endswith('"""')):
            missing.append(named(file))
    assert missing == []


def test_importing_whichway_takes_less_than_150_ms():
    empty, full = fastest(sys.executable, "-c", "pass"), fastest(sys.executable, "-c", "import whichway")
    assert full - empty < IMPORT_S


def test_help_takes_less_than_300_ms():
    assert fastest(sys.executable, "-m", "whichway", "--help") < HELP_S


def test_importing_whichway_loads_no_heavy_package():
    code = f"import json, sys, whichway, whichway.cli; print(json.dumps([x for x in {HEAVY!r} if x in sys.modules]))"
    assert json.loads(run(sys.executable, "-c", code).stdout) == []


def test_listing_what_is_registered_loads_no_model_library():
    code = (
        "import json, sys; from whichway import registry; [registry.names(kind) for kind in registry.ROOMS]; "
        "print(json.dumps([x for x in ('torch', 'transformers', 'sentence_transformers', 'trl') if x in sys.modules]))"
    )
    assert json.loads(run(sys.executable, "-c", code).stdout) == []


def test_the_rooms_look_only_down():
    done = run(tool("lint-imports"))
    assert done.returncode == 0, done.stdout


def test_ruff_has_nothing_to_say():
    done = run(tool("ruff"), "check", ".", "--output-format", "concise")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_mypy_strict_has_nothing_to_say():
    done = run(tool("mypy"))
    assert done.returncode == 0, done.stdout


def forbidden(file: Path) -> Iterator[str]:
    """Yield calls and imports that could run code of whoever wrote the data."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [one.name for one in node.names] + [getattr(node, "module", None) or ""]
            yield from (
                name for name in names if name.split(".")[0] in ("pickle", "joblib", "dill", "marshal", "shelve")
            )
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in (
                "eval",
                "exec",
                "torch.load",
                "yaml.load",
                "yaml.unsafe_load",
                "os.system",
                "np.load",
                "numpy.load",
            ):
                yield called
            yield from (
                f"{one.arg}=True"
                for one in node.keywords
                if one.arg in ("shell", "trust_remote_code", "allow_pickle")
                and getattr(one.value, "value", None) is True
            )


def test_nothing_in_the_sources_runs_code_that_came_with_data():
    found = {named(file): list(forbidden(file)) for file in SOURCES}
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_the_search_for_forbidden_calls_finds_them(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import pickle\nfrom joblib import load\neval('1')\ntorch.load(x)\n"
        "yaml.load(x)\nrun(x, shell=True)\nmodel.eval()\n"
    )
    assert sorted(forbidden(bad)) == ["eval", "joblib", "pickle", "shell=True", "torch.load", "yaml.load"]


def test_the_front_door_has_at_most_30_names_and_each_can_be_had():
    assert len(whichway.__all__) <= MOST_NAMES
    assert [name for name in whichway.__all__ if not hasattr(whichway, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        whichway.nothing  # noqa: B018


def tree_script():
    spec = importlib.util.spec_from_file_location("whichway_tree", HOME / "docs" / "tree.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readmes_tree_is_that_of_the_files():
    page = HOME / "README.md"
    if not page.exists():
        pytest.skip("there is no README.md yet")
    text = page.read_text(encoding="utf-8")
    assert tree_script().rewritten(text) == text, "run: python docs/tree.py"


def test_the_tree_names_every_file_and_replaces_an_old_one():
    script = tree_script()
    new = script.rewritten("# T\n<!-- tree -->\nold\n<!-- /tree -->\nend\n")
    assert (
        new.startswith("# T\n<!-- tree -->\n```text\n")
        and new.endswith("```\n<!-- /tree -->\nend\n")
        and "\nold\n" not in new
    )
    assert script.rewritten(new) == new
    assert [file.name for file in SOURCES if file.name not in new] == []
    with pytest.raises(ValueError, match="needs"):
        script.rewritten("# no marks")


def test_there_is_a_changelog():
    assert (HOME / "CHANGELOG.md").is_file()


def test_no_two_test_files_have_the_same_name():
    names = [file.name for file in (HOME / "tests").rglob("*.py") if file.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
