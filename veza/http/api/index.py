"""`GET /api/v1/`: what there is."""

from collections.abc import Sequence

import msgspec

from veza.http.context import Context
from veza.http.routing import Auth, Resource


class Endpoint(msgspec.Struct, frozen=True):
    method: str
    path: str
    summary: str


class Area(msgspec.Struct, frozen=True):
    name: str
    summary: str
    endpoints: list[Endpoint]


class Index(msgspec.Struct, frozen=True):
    """`documentation` and `specification` are paths on this server."""

    areas: list[Area]
    documentation: str = "/swagger"
    specification: str = "/swagger/openapi.json"


def index_of(resources: Sequence[Resource]) -> Resource:
    """A resource that lists `resources`."""
    found = Index(
        [
            Area(
                resource.name,
                resource.summary,
                [Endpoint(route.method, route.pattern, route.summary) for route in resource.routes],
            )
            for resource in resources
        ]
    )
    resource = Resource("index", "What there is.")

    @resource.get("/", auth=Auth.NONE)
    async def areas(ctx: Context) -> Index:  # noqa: ARG001 - every handler takes the context
        """The areas of the API and their endpoints."""
        return found

    return resource
