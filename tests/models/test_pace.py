"""Batches are as large as this machine reads fastest: timed once, and kept."""

from __future__ import annotations

import json

import pytest

from whichway.models import hardware, pace


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path))
    return tmp_path / "pace.json"


def test_sizes_are_timed_once_and_the_usual_one_is_taken_where_it_is_about_as_fast(cache, monkeypatch):
    asked = []

    def timed(sizes):
        asked.append(sizes)
        speeds = [100.0, 97.0, 99.0, 60.0]
        return {str(size): speed for size, speed in zip(sizes, speeds, strict=False)}

    monkeypatch.setattr(pace, "measured", timed)
    sizes = pace.SIZES[hardware.device().type]
    assert pace.tokens_at_once.__wrapped__() == sizes[1]
    assert pace.tokens_at_once.__wrapped__() == sizes[1]
    assert asked == [sizes]
    (speeds,) = json.loads(cache.read_text()).values()
    assert len(speeds) == len(sizes)


def test_a_cache_file_that_cannot_be_read_is_measured_anew(cache, monkeypatch):
    cache.write_text("{ not json")
    monkeypatch.setattr(pace, "measured", lambda sizes: {str(size): float(size) for size in sizes})
    assert pace.tokens_at_once.__wrapped__() == max(pace.SIZES[hardware.device().type])
    assert json.loads(cache.read_text())


def test_bounds_grow_with_what_is_measured(monkeypatch):
    usual = pace.SIZES[hardware.device().type][1]
    monkeypatch.setattr(pace, "tokens_at_once", lambda: 2 * usual)
    assert pace.scaled((1000, 1000)) == 2000


def test_real_layers_are_timed():
    speeds = pace.measured((64, 256))
    assert set(speeds) == {"64", "256"}
    assert all(speed > 0 for speed in speeds.values())
