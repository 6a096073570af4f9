"""`/sdk/veza.js`: the JavaScript SDK and its types, for pages to import."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sanic import Sanic
from sanic.response import HTTPResponse, file

from veza.http.request import Request
from veza.http.responses import counted
from veza.metrics import RouteMeter

_FOLDER = Path(str(importlib.resources.files("veza").joinpath("web", "sdk")))
_KINDS = {".js": "text/javascript; charset=utf-8", ".ts": "text/plain; charset=utf-8"}


def mount(app: Sanic[Any, Any]) -> None:
    """Serve each file by its name. Modules import each other, so a browser asks every time whether one changed (304
    when not): pieces of two versions would not fit together.
    """
    # By name, so that a path in a request never becomes a path on the disk.
    for path in sorted(each for each in _FOLDER.iterdir() if each.suffix in _KINDS):
        app.add_route(
            counted(app, _serve(path, _KINDS[path.suffix])),
            f"/sdk/{path.name}",
            methods=["GET", "HEAD"],
            name=f"sdk.{path.name.replace('.', '_')}",
            ctx_meter=RouteMeter("/sdk/<file>"),
        )


def _serve(path: Path, kind: str) -> Callable[[Request], Any]:
    async def serve(request: Request) -> HTTPResponse:
        return await file(path, request_headers=request.headers, mime_type=kind)

    return serve
