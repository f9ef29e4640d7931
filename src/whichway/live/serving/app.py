"""The server: who may ask, what an error looks like, and which routes there are."""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from whichway.errors import UsageError, WhichwayError
from whichway.live.answer import Asked
from whichway.live.serving.chat import chat_routes, complete_all
from whichway.live.serving.models import Desk
from whichway.live.serving.refusal import Refusal, error_body
from whichway.live.serving.uploads import upload_routes

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_S = 5  # for what is being streamed when the server ends
LARGEST_BYTES = 100 * 2**20


def make_app(desk: Desk, key: str = "", is_open: bool = False) -> Any:
    """Return the ASGI app of a desk. With a `key`, every request must carry it; `is_open` says that others can reach it.

    Without that, only requests made to a loopback name are answered, so that no web page can talk to it through a name of
    its own.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse

    async def guard(request: Any, go_on: Callable[[Any], Awaitable[Any]]) -> Any:
        refused = _refused(request, key, is_open)
        if refused:
            return JSONResponse(error_body(*refused[1:]), refused[0])
        return await go_on(request)

    async def refuse(_: Any, error: Any) -> Any:
        return JSONResponse(error_body(error.message, error.kind), error.status)

    async def explain(_: Any, error: Any) -> Any:
        return JSONResponse(error_body(f"{error.problem} {error.fix}".strip(), "server_error"), 500)

    async def misused(_: Any, error: Any) -> Any:
        return JSONResponse(error_body(f"{error.problem} {error.fix}".strip(), "invalid_request_error"), 400)

    async def unknown(request: Any, _: Any) -> Any:
        return JSONResponse(
            error_body(f"There is no {request.method} {request.url.path} here.", "not_found_error"), 404
        )

    desk.take_batches(lambda every: complete_all(desk, every))
    routes = [*chat_routes(desk), *(upload_routes(desk) if desk.tuning is not None else ())]
    handlers: dict[Any, Any] = {
        Refusal: refuse,
        UsageError: misused,
        WhichwayError: explain,
        404: unknown,
        405: unknown,
    }
    return Starlette(
        routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)], exception_handlers=handlers
    )


def _refused(request: Any, key: str, is_open: bool) -> tuple[int, str, str] | None:
    """Return (status, message, type) of a request that is not answered."""
    host = str(request.headers.get("host", "")).rsplit(":", 1)[0].strip("[]")
    if not is_open and host not in LOOPBACK:
        return 403, f"This server answers on this machine alone, not as {host!r}.", "permission_error"
    said = str(request.headers.get("authorization", "")).removeprefix("Bearer ").strip()
    if key and not hmac.compare_digest(said.encode(), key.encode()):
        return 401, "The key is missing or wrong.", "authentication_error"
    size = request.headers.get("content-length", "0")
    if not size.isdigit() or int(size) > LARGEST_BYTES:
        return 413, f"A request may have {LARGEST_BYTES} bytes.", "invalid_request_error"
    return None


def key_from(variable: str | None, host: str) -> str:
    """Return the key that an environment variable holds; raises UsageError where one is needed and there is none."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise UsageError(f"The environment variable {variable} is not set.", f"Set it: export {variable}=...")
    if host not in LOOPBACK and not key:
        raise UsageError(
            f"Serving on {host!r} lets other machines in, so it needs a key.",
            "Name the environment variable that holds one: --key-env WHICHWAY_KEY, or serve on 127.0.0.1.",
        )
    return key


def serve(
    folder: Path,
    asked: Asked,
    host: str = "127.0.0.1",
    port: int = 8000,
    key_env: str | None = None,
    training: bool = False,
) -> None:
    """Serve a run until it is interrupted; `port` 0 takes a free one. Prints the address once it can be asked.

    `asked` names the strategy (None: the recommended one), the documents where they are not the run's, and says which
    answers are marked as withheld.
    """
    import socket
    import sys

    import uvicorn

    key = key_from(key_env, host)
    desk = Desk(folder, asked.strategy, training, asked, lambda said: print(said, file=sys.stderr, flush=True))
    app = make_app(desk, key, host not in LOOPBACK)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(128)  # who asks before the server runs waits, and is not refused
        except OSError as error:
            raise UsageError(
                f"{host}:{port} cannot be listened on: {error.strerror}.", "Choose another --port."
            ) from error
        shown = f"[{host}]" if ":" in host else host
        print(f"Serving {', '.join(desk.names())} on http://{shown}:{sock.getsockname()[1]}/v1", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_S
            )
        )
        try:
            server.run(sockets=[sock])
        finally:
            desk.close()
