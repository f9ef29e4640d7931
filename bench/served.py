"""`optimise` against our own `whichway serve --training`, killed on the way: what the ledger says against what was answered."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "support_triage"
WHICHWAY = [sys.executable, "-m", "whichway"]
PRICE = {"input": 1.0, "output": 4.0}
MODEL, PORT = "smollm2-135m-instruct", 8921
ROWS = 320  # of the example: the fewest that are split once and have a test part


class Counter:
    """Stands between the program and the server, and adds up the tokens of every answer that went through."""

    def __init__(self, target: str) -> None:
        self.answers, self.tokens, self.repeated = 0, {"prompt_tokens": 0, "completion_tokens": 0}, 0
        self.seen: set[bytes] = set()
        self.guard, counter = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kept = {"content-type": "application/json"}
                try:
                    with urllib.request.urlopen(urllib.request.Request(target + self.path, body, kept)) as reply:
                        status, said = reply.status, reply.read()
                except urllib.error.HTTPError as error:
                    status, said = error.code, error.read()
                counter.count(status, body, said)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                return

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (
                    BrokenPipeError,
                    ConnectionResetError,
                ):  # whoever asked was killed: the answer is billed all the same
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, status: int, body: bytes, said: bytes) -> None:
        """Put an answer on the bill."""
        with self.guard:
            if status == 200:
                usage = json.loads(said)["usage"]
                self.answers += 1
                self.repeated += body in self.seen
                self.seen.add(body)
                self.tokens = {key: value + usage[key] for key, value in self.tokens.items()}

    @property
    def usd(self) -> float:
        return (
            self.tokens["prompt_tokens"] * PRICE["input"] + self.tokens["completion_tokens"] * PRICE["output"]
        ) / 1e6


def main() -> None:
    """Serve, run until --kill answers have come, kill, run again to the end, and compare."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--work", type=Path, default=Path("runs/served"))
    asked.add_argument("--kill", type=int, default=150)
    asked.add_argument("--minutes", type=float, default=8.0)
    asked.add_argument("--prompts", type=int, default=8)
    asked.add_argument("--rows", type=int, default=24, help="on which prompts are scored")
    said = asked.parse_args()
    said.work.mkdir(parents=True, exist_ok=True)
    task = prepared(said)
    if not (said.work / "base" / "report.json").exists():
        subprocess.run([*WHICHWAY, "run", task, "--out", said.work / "base", "--only", "majority"], check=False)
    server = subprocess.Popen(
        [*WHICHWAY, "serve", said.work / "base", "--port", "0", "--training"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"(http://\S+)/v1", server.stdout.readline())
        assert found
        told(said, task, Counter(found[1]))
    finally:
        server.terminate()


def told(said: Any, task: Path, counter: Counter) -> None:
    """Run, kill, run again, and print what both sides say."""
    command = [*WHICHWAY, "run", task, "--out", said.work / "run", "--only", "optimise@far"]
    command += ["--budget-minutes", str(said.minutes)]
    began = time.monotonic()
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and counter.answers < said.kill:
        time.sleep(0.05)
    first.kill()
    first.wait()
    print(
        f"killed after {counter.answers} answers, {time.monotonic() - began:.0f} s, bill ${counter.usd:.6f}", flush=True
    )
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    report = json.loads((said.work / "run" / "report.json").read_text())
    print(f"exit {done.returncode}, state {report['state']}, {time.monotonic() - began:.0f} s in all")
    print(f"bill   ${counter.usd:.6f} for {counter.answers} answers, {counter.repeated} of them asked before")
    spent = report["spent"]
    print(
        f"ledger ${spent['usd']:.6f}, planned {json.dumps(spent.get('planned'))}, lost units {spent.get('lost_units')}"
    )
    for one in report["trials"]:
        scores = [f"{p} {one[p]['value']:.4f} (n={one[p]['n']})" for p in ("validation", "test") if one[p]]
        print(f"{one['strategy']} {one['state']} {'  '.join(scores)} {one['reason']}")
    print(json.dumps(report.get("searches")))


def prepared(said: Any) -> Path:
    """Write the task and its rows."""
    task = yaml.safe_load((EXAMPLE / "task.yaml").read_text(encoding="utf-8"))
    rows = (EXAMPLE / "rows.jsonl").read_text(encoding="utf-8").splitlines()[:ROWS]
    (said.work / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    at = {"base_url": f"http://127.0.0.1:{PORT}/v1", "model": MODEL, "price": PRICE, "max_concurrency": 2}
    settings = {"optimise@far": {"prompts": said.prompts, "rows": said.rows, "gate": False}}
    more = {"models": {"endpoints": {"far": at}}, "strategies": {"settings": settings}}
    file = said.work / "task.yaml"
    file.write_text(yaml.safe_dump({**task, **more, "budget": {"minutes": 8, "usd": 5}}, sort_keys=False))
    return file


if __name__ == "__main__":
    main()
