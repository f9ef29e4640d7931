"""Routes that answer: /v1/models, /v1/chat/completions (streaming, too) and /predict."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whichway.core.model import Request as Ask
from whichway.errors import BudgetReached, ProviderError, UsageError
from whichway.live.answer import answer_row
from whichway.live.serving.models import Desk, Served, inputs_from
from whichway.live.serving.refusal import Refusal, body_of, error_body, object_in, whole_in
from whichway.live.serving.streaming import Writing, events, words

MOST_ROWS = 1000
MOST_TOKENS, USUAL_TOKENS = 2048, 256
MOST_STOPS = 16
SEEDS = (-(2**63), 2**63 - 1)


def chat_routes(desk: Desk) -> list[Any]:
    """Return the routes that answer."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    started = int(time.time())

    def shown(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "whichway"}

    async def models(_: Any) -> Any:
        return JSONResponse({"object": "list", "data": [shown(one) for one in desk.names()]})

    async def model(request: Any) -> Any:
        name = str(request.path_params["name"])
        _known(desk, name)
        return JSONResponse(shown(name))

    async def chat(request: Any) -> Any:
        said = await body_of(request)
        usage = bool(object_in(said, "stream_options").get("include_usage"))
        if not said.get("stream"):
            return JSONResponse(await run_in_threadpool(_complete, desk, said))
        streamed = await run_in_threadpool(_streamed, desk, said, usage)
        return StreamingResponse(streamed, media_type="text/event-stream")

    async def predict(request: Any) -> Any:
        return JSONResponse(await run_in_threadpool(_predict, desk, await body_of(request)))

    async def health(_: Any) -> Any:
        return JSONResponse({"status": "ok", "models": desk.names()})

    return [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/predict", predict, methods=["POST"]),
    ]


def _known(desk: Desk, name: str) -> None:
    if name not in desk.names():
        raise Refusal(404, f"There is no model {name!r}. There are: {', '.join(desk.names())}.", "not_found_error")


def _predict(desk: Desk, said: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"rows": [...], "strategy": name}: each row as `whichway predict` would."""
    rows = said.get("rows", [said] if "input" in said else None)
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise Refusal(400, f'Send {{"rows": [...]}} with 1 to {MOST_ROWS} rows.')
    name = str(said.get("strategy") or desk.main.name)
    served = desk.solution(name)
    if served is None:
        raise Refusal(404, f"There is no strategy {name!r}.", "not_found_error")
    inputs = [_inputs(served, row, f"rows[{i}]") for i, row in enumerate(rows)]
    answers = _answered(served, inputs)
    ids = [str(row.get("id", i)) if isinstance(row, Mapping) else str(i) for i, row in enumerate(rows)]
    found = [answer_row(served.task, id_, one, served.asked) for id_, one in zip(ids, answers, strict=True)]
    return {"strategy": served.name, "rows": found}


def _inputs(served: Served, row: Any, where: str) -> Any:
    if not isinstance(row, Mapping | str):
        raise Refusal(400, f"{where} is neither an object nor a text.")
    try:
        return inputs_from(served.task, row)
    except (UsageError, ValueError, TypeError) as error:
        problem = f"{error.problem} {error.fix}" if isinstance(error, UsageError) else str(error)
        raise Refusal(400, f"{where}: {problem}") from error


def _answered(served: Served, inputs: Sequence[Any]) -> Any:
    try:
        return served.answer(inputs)
    except (ProviderError, BudgetReached) as error:
        raise Refusal(503, f"{error.problem} {error.fix}".strip(), "server_error") from error


def complete_all(desk: Desk, every: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Answer the chat requests of a batch: status and body of each; what one model writes is written together."""
    found: list[tuple[int, dict[str, Any]]] = [(500, {})] * len(every)
    asks: dict[str, list[tuple[int, Ask]]] = {}
    for i, said in enumerate(every):
        try:
            name, messages = _named(desk, said)
            if desk.solution(name) is None:
                asks.setdefault(name, []).append((i, _ask(said, messages)))
            else:
                found[i] = 200, _complete(desk, said)
        except Refusal as no:
            found[i] = no.status, error_body(no.message, no.kind)
    for name, some in asks.items():
        replies = desk.write(name, [ask for _, ask in some])
        assert replies is not None
        for (i, ask), reply in zip(some, replies, strict=True):
            found[i] = 200, _completion(desk, name, ask.messages, reply.text, reply.finish, {})
    return found


def _complete(desk: Desk, said: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a chat request with a solution, or let a language model write."""
    name, messages = _named(desk, said)
    served = desk.solution(name)
    if served is None:
        replies = desk.write(name, [_ask(said, messages)])
        assert replies is not None
        return _completion(desk, name, messages, replies[0].text, replies[0].finish, {})
    asked = next((text for role, text in reversed(messages) if role == "user"), "")
    answer = _answered(served, [_inputs(served, asked, "the last user message")])[0]
    text = served.task.output.write(answer.value) if answer.parsed else ""
    extra: dict[str, Any] = {"confidence": round(answer.confidence, 4), "sources": list(answer.sources)}
    if answer.confidence < served.asked.min_confidence:
        extra["withheld"] = True
    return _completion(desk, name, messages, text, "stop", extra)


def _streamed(desk: Desk, said: Mapping[str, Any], usage: bool) -> Iterator[str]:
    """Answer as events: a language model is heard while it writes, a solution's answer is made whole first."""
    name, messages = _named(desk, said)
    if desk.solution(name) is not None:
        made = _complete(desk, said)
        return events(made, words(made["choices"][0]["message"]["content"]), lambda: made, usage)
    asked, head = _ask(said, messages), _completion(desk, name, messages, "", "stop", {})
    writing = Writing(lambda say: desk.tell(name, asked, say))
    return events(
        head,
        writing,
        lambda: _completion(desk, name, messages, writing.reply.text, writing.reply.finish, {}),
        usage,
    )


def _named(desk: Desk, said: Mapping[str, Any]) -> tuple[str, tuple[tuple[Any, str], ...]]:
    name, messages = str(said.get("model") or desk.main.name), _messages(said)
    _known(desk, name)
    return name, messages


def _completion(
    desk: Desk, name: str, messages: Sequence[tuple[Any, str]], text: str, finish: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    counted = [desk.count("\n".join(text for _, text in messages)), desk.count(text)]
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": counted[0], "completion_tokens": counted[1], "total_tokens": sum(counted)},
        **({"whichway": extra} if extra else {}),
    }


def _messages(said: Mapping[str, Any]) -> tuple[tuple[Any, str], ...]:
    """Return chat messages as (role, text); raises Refusal for what is none."""
    listed = said.get("messages")
    if not isinstance(listed, list) or not listed:
        raise Refusal(400, "`messages` must be a list of at least one message.")
    found = []
    for i, one in enumerate(listed):
        role = one.get("role") if isinstance(one, Mapping) else None
        if role not in ("system", "developer", "user", "assistant"):
            raise Refusal(400, f"messages[{i}]: the role {role!r} is not known here.")
        found.append(("system" if role == "developer" else role, _text(one.get("content"), i)))
    return tuple(found)


def _text(content: Any, number: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(one, Mapping) and one.get("type") == "text" for one in content):
        return "".join(str(one.get("text", "")) for one in content)
    raise Refusal(400, f"messages[{number}]: only text can be read.")


def _ask(said: Mapping[str, Any], messages: Any) -> Ask:
    """Return what a language model is asked, within this server's limits."""
    named = next((one for one in ("max_completion_tokens", "max_tokens") if said.get(one) is not None), "max_tokens")
    most = whole_in(said, named, USUAL_TOKENS, 1, MOST_TOKENS)
    heat = 1.0 if said.get("temperature") is None else said["temperature"]
    if isinstance(heat, bool) or not isinstance(heat, int | float) or not 0 <= heat <= 2:
        raise Refusal(400, "`temperature` must be 0 to 2.")
    stop = said.get("stop") or ()
    stops = (stop,) if isinstance(stop, str) else stop
    if not isinstance(stops, list | tuple) or len(stops) > MOST_STOPS or not all(isinstance(one, str) for one in stops):
        raise Refusal(400, f"`stop` must be a text, or a list of at most {MOST_STOPS}.")
    schema = object_in(object_in(object_in(said, "response_format"), "json_schema"), "schema") or None
    return Ask(messages, most, float(heat), None, schema, stop=tuple(stops), draw=whole_in(said, "seed", 0, *SEEDS))
