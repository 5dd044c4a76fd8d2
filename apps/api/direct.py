"""A route whose function takes nothing but the request.

FastAPI's resolver costs about 60 µs a request, a third of a whole search. Our functions read
their bodies themselves, so a route needs only its admission and then its function, and none of
the exit stacks that generators as dependencies would need. Errors meet their handlers in the
layer around all routes. The OpenAPI page is made from the declaration as for any other route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls the route's dependencies in order, then its function, each with the request."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        super().__init__(path, endpoint, **declared)
        before = [each.dependency for each in self.dependencies if each.dependency is not None]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            for admission in before:
                await admission(request)
            response: Response = await endpoint(request)
            await response(scope, receive, send)

        self.app = app


def by_address(routes: Iterable[BaseRoute]) -> Mapping[tuple[str, str], DirectRoute]:
    """The direct routes by method and path, without those whose path has a parameter."""
    return {
        (method, route.path): route
        for route in routes
        if isinstance(route, DirectRoute) and not route.param_convertors
        for method in route.methods or ()
    }
