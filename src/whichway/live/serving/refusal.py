"""A request that cannot be served as it is, and the body of one that can."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A request that cannot be served as it is: an HTTP status, what is wrong, and the error's type."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error in the form that OpenAI's clients read."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def object_in(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object of a body, an empty one where there is none; raises Refusal for anything else."""
    found = said.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise Refusal(400, f"`{name}` must be an object.")
    return found or {}


def whole_in(said: Mapping[str, Any], name: str, usual: int, least: int, most: int) -> int:
    """Return a whole number of a body, the usual one where there is none; raises Refusal for anything else."""
    found = said.get(name)
    if found is None:
        return usual
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise Refusal(400, f"`{name}` must be a whole number from {least} to {most}.")
    return found


async def body_of(request: Any) -> dict[str, Any]:
    """Return the JSON object of a request; raises Refusal for anything else."""
    try:
        said = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {error}.") from error
    if not isinstance(said, dict):
        raise Refusal(400, "The body must be a JSON object.")
    return said
