"""Batches are as large as this machine reads fastest: timed once, and kept."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from whichway.models import hardware, pace


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHWAY_CACHE", str(tmp_path))
    return tmp_path / "pace.json"


def test_sizes_are_timed_once_and_the_usual_one_is_taken_where_it_is_about_as_fast(cache, monkeypatch):
    asked = []

    def timed(sizes, shape):
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
    monkeypatch.setattr(pace, "measured", lambda sizes, shape: {str(size): float(size) for size in sizes})
    assert pace.tokens_at_once.__wrapped__() == max(pace.SIZES[hardware.device().type])
    assert json.loads(cache.read_text())


def test_bounds_grow_with_what_is_measured(monkeypatch):
    usual = pace.SIZES[hardware.device().type][1]
    monkeypatch.setattr(pace, "tokens_at_once", lambda shape: 2 * usual)
    assert pace.scaled((1000, 1000)) == 2000


def test_real_layers_are_timed():
    speeds = pace.measured((64, 256))
    assert set(speeds) == {"64", "256"}
    assert all(speed > 0 for speed in speeds.values())


def test_each_shape_of_model_is_timed_by_itself(cache, monkeypatch):
    """A narrow model's products are fastest in larger batches than a wide one's."""
    sizes, asked = pace.SIZES[hardware.device().type], []

    def timed(sizes, shape):
        asked.append(shape)
        return {str(size): float(size if shape == (16, 64) else -size) for size in sizes}

    monkeypatch.setattr(pace, "measured", timed)
    narrow, wide = SimpleNamespace(hidden_size=16), SimpleNamespace(hidden_size=32, intermediate_size=99)
    usual = (1000, 1000)
    pace.tokens_at_once.cache_clear()
    found = [pace.scaled(usual, narrow), pace.scaled(usual, wide), pace.scaled(usual, narrow)]
    pace.tokens_at_once.cache_clear()
    assert found[0] == found[2] == round(1000 * sizes[-1] / sizes[1]) and found[1] == round(1000 * sizes[0] / sizes[1])
    assert asked == [(16, 64), (32, 99)] and len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (None, pace.USUAL),
        (SimpleNamespace(hidden_size=384, intermediate_size=1536), (384, 1536)),
        (SimpleNamespace(hidden_size=768, n_inner=None), (768, 3072)),
        (SimpleNamespace(hidden_size=4096, intermediate_size=14336), (2048, 7168)),
    ],
)
def test_the_shape_of_a_model_is_read_from_its_settings(config, shape):
    assert pace.shape_of(config) == shape
