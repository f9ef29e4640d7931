"""Routes for files, batches and fine-tuning jobs, as OpenAI's clients ask for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from whichway.live.serving.batches import Batches
from whichway.live.serving.files import Files
from whichway.live.serving.jobs import Tuning
from whichway.live.serving.models import Desk
from whichway.live.serving.refusal import Refusal, body_of

JOBS = "/v1/fine_tuning/jobs"
VERBS = {"cancel": "cancelled", "pause": "paused", "resume": "queued"}


def upload_routes(desk: Desk) -> list[Any]:
    """Return the routes of a server that takes files."""
    assert desk.files is not None and desk.batches is not None and desk.tuning is not None
    return [*_file_routes(desk.files), *_batch_routes(desk.batches), *_job_routes(desk.tuning)]


def _file_routes(files: Files) -> list[Any]:
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def delete(request: Any) -> dict[str, Any]:
        files.delete(_id(request))
        return {"id": _id(request), "object": "file", "deleted": True}

    async def upload(request: Any) -> Any:
        form = await request.form()
        file, purpose = form.get("file"), str(form.get("purpose") or "")
        if file is None or isinstance(file, str):
            raise Refusal(400, "`file` is missing: send it as multipart/form-data.")
        return JSONResponse(files.add(file.filename or "rows.jsonl", purpose, await file.read()))

    async def content(request: Any) -> Any:
        return Response(files.content(_id(request)), media_type="application/jsonl")

    return [
        Route("/v1/files", upload, methods=["POST"]),
        Route("/v1/files", _answering(lambda r: _page(files.all(), r))),
        Route("/v1/files/{id_}", _answering(lambda r: files.about(_id(r)))),
        Route("/v1/files/{id_}", _answering(delete), methods=["DELETE"]),
        Route("/v1/files/{id_}/content", content),
    ]


def _batch_routes(batches: Batches) -> list[Any]:
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def create(request: Any) -> Any:
        return JSONResponse(batches.create(await body_of(request)))

    return [
        Route("/v1/batches", create, methods=["POST"]),
        Route("/v1/batches", _answering(lambda r: _page(batches.all(), r))),
        Route("/v1/batches/{id_}", _answering(lambda r: batches.batch(_id(r)))),
        Route("/v1/batches/{id_}/cancel", _answering(lambda r: batches.cancel(_id(r))), methods=["POST"]),
    ]


def _job_routes(tuning: Tuning) -> list[Any]:
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def create(request: Any) -> Any:
        return JSONResponse(tuning.create(await body_of(request)))

    def changing(to: str) -> Callable[[Any], Any]:
        def change(request: Any) -> Any:  # waits until a process has ended, hence not async: it runs in a thread
            return JSONResponse(tuning.change(_id(request), to))

        return change

    one = JOBS + "/{id_}"
    return [
        Route(JOBS, create, methods=["POST"]),
        Route(JOBS, _answering(lambda r: _page(tuning.jobs(), r))),
        Route(one, _answering(lambda r: tuning.job(_id(r)))),
        Route(one + "/events", _answering(lambda r: _page(tuning.events(_id(r)), r))),
        Route(one + "/checkpoints", _answering(lambda r: _page(tuning.checkpoints(_id(r)), r))),
        *(Route(f"{one}/{verb}", changing(to), methods=["POST"]) for verb, to in VERBS.items()),
    ]


def _answering(found: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
    async def answer(request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse(found(request))

    return answer


def _id(request: Any) -> str:
    return str(request.path_params["id_"])


def _page(every: list[dict[str, Any]], request: Any) -> dict[str, Any]:
    """Return as many things as are asked for, after the one that is named."""
    after, limit = request.query_params.get("after"), request.query_params.get("limit", "20")
    start = next((i + 1 for i, one in enumerate(every) if one["id"] == after), 0) if after else 0
    size = max(1, min(100, int(limit) if limit.isdigit() else 20))
    return {"object": "list", "data": every[start : start + size], "has_more": start + size < len(every)}
