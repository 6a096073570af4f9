"""`/swagger`: Swagger UI from files of our own, and the document it shows. Nothing is loaded from elsewhere."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openapi_ui_bundles import swagger_ui
from sanic import Sanic
from sanic.response import HTTPResponse, file, raw

from veza.http.middleware.security_headers import PAGE_POLICY
from veza.http.request import Request
from veza.metrics import RouteMeter

_OURS = Path(str(importlib.resources.files("veza.http").joinpath("static", "swagger")))
_BUNDLE = Path(swagger_ui.static_path)

# By name, so that a path in a request never becomes a path on the disk.
ASSETS: dict[str, tuple[Path, str]] = {
    "start.js": (_OURS / "start.js", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": (_BUNDLE / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_BUNDLE / "swagger-ui.css", "text/css; charset=utf-8"),
    "index.css": (_BUNDLE / "index.css", "text/css; charset=utf-8"),
    "favicon-16x16.png": (_BUNDLE / "favicon-16x16.png", "image/png"),
    "favicon-32x32.png": (_BUNDLE / "favicon-32x32.png", "image/png"),
}


def mount(app: Sanic[Any, Any], document: Callable[[], bytes]) -> None:
    """Serve the page; `document` makes the OpenAPI document as JSON and is called once, when first asked for."""
    made: list[bytes] = []

    async def page(_request: Request) -> HTTPResponse:
        return await file(
            _OURS / "index.html",
            mime_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": PAGE_POLICY},
            no_store=True,
        )

    async def specification(_request: Request) -> HTTPResponse:
        if not made:
            made.append(document())
        return raw(made[0], content_type="application/json")

    app.add_route(page, "/swagger", methods=["GET", "HEAD"], ctx_meter=RouteMeter("/swagger"), ctx_limited=False)
    app.add_route(
        specification,
        "/swagger/openapi.json",
        methods=["GET", "HEAD"],
        ctx_meter=RouteMeter("/swagger/openapi.json"),
        ctx_limited=False,
    )
    for name, (path, kind) in ASSETS.items():
        app.add_route(
            _asset(path, kind),
            f"/swagger/{name}",
            methods=["GET", "HEAD"],
            name=f"swagger.{name.replace('.', '_')}",
            ctx_meter=RouteMeter("/swagger/<asset>"),
            ctx_limited=False,
        )


def _asset(path: Path, kind: str) -> Callable[[Request], Any]:
    async def asset(request: Request) -> HTTPResponse:
        return await file(path, request_headers=request.headers, mime_type=kind, max_age=3600)

    return asset
