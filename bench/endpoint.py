"""Calls per second through the metered client against a stub of fixed latency, the bill against the ledger, and estimates."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "models"))

from fault_server import Fault, FaultServer, Seen, answer

from whichway.core.model import Request
from whichway.models.endpoint import EndpointModel
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

PRICE = {"input": 1.0, "output": 2.0, "cached_input": 0.5, "training": None}


def main() -> None:
    """Send calls at a concurrency; print the rate over what latency allows, and whether bill and ledger agree."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--calls", type=int, default=2000)
    asked.add_argument("--at-once", type=int, default=32)
    asked.add_argument("--latency-ms", type=float, default=50)
    said = asked.parse_args()
    started = multiprocessing.get_context("spawn")
    bill, where, done = started.Array("q", 2), started.Queue(), started.Event()
    stub = started.Process(target=_stub, args=(said.latency_ms / 1000, bill, where, done))
    stub.start()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder), 100.0)
        meter = TrialMeter(ledger)
        meter.trial, meter.phase = "prompt", "validation"
        settings = {"base_url": where.get(), "model": "small", "key_env": None, "timeout_s": 30.0}
        settings |= {"price": SimpleNamespace(**PRICE), "max_concurrency": said.at_once}
        model = EndpointModel("mine", SimpleNamespace(**settings), meter)
        requests = [Request((("user", f"row {i}"),), 8) for i in range(said.calls)]
        model.generate(requests[: said.at_once])  # connections are open, and what it refuses is known
        began = time.perf_counter()
        replies = model.generate(requests[said.at_once :])
        rate = len(replies) / (time.perf_counter() - began)
        ledger.close()
        book = sqlite3.connect(Path(folder) / "ledger.db")
        kept = book.execute("SELECT sum(tokens_in), sum(tokens_out), sum(usd) FROM units").fetchone()
        book.close()
    done.set()
    stub.join()
    most = said.at_once / (said.latency_ms / 1000)
    print(f"{rate:.0f} calls/s of {most:.0f} that {said.at_once} at once allow: {rate / most:.2f}")
    usd = (bill[0] * PRICE["input"] + bill[1] * PRICE["output"]) / 1e6
    print(f"bill {bill[0]} + {bill[1]} tokens, ${usd:.6f}; ledger {kept[0]} + {kept[1]} tokens, ${kept[2]:.6f}")
    print(json.dumps({"share": round(rate / most, 3), "equal": [bill[0], bill[1]] == list(kept[:2])}))


def _stub(latency_s: float, bill: Any, where: Any, done: Any) -> None:
    """Serve in a process of its own, and keep the bill."""

    def script(seen: Seen) -> Fault:
        tokens = 10 + seen.number % 7
        with bill.get_lock():
            bill[0] += tokens
            bill[1] += 2
        usage = {"prompt_tokens": tokens, "completion_tokens": 2, "total_tokens": tokens + 2}
        return Fault(body=answer("spam", usage=usage), delay_s=latency_s)

    with FaultServer(script) as server:
        where.put(server.base_url)
        done.wait()


if __name__ == "__main__":
    main()
