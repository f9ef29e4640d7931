"""A request that cannot be served as it is, and the body of one that can."""

from __future__ import annotations

import json
from typing import Any


class Refusal(Exception):
    """A request that cannot be served as it is: an HTTP status, what is wrong, and the error's type."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error in the form that OpenAI's clients read."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


async def body_of(request: Any) -> dict[str, Any]:
    """Return the JSON object of a request; raises Refusal for anything else."""
    try:
        said = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {error}.") from error
    if not isinstance(said, dict):
        raise Refusal(400, "The body must be a JSON object.")
    return said
