"""The last step of every response: common headers, metrics, access log."""

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from sanic.response import BaseHTTPResponse

from veza.config import Settings
from veza.http.audit_trail import AUDITED, AuditTrail
from veza.http.envelope import JsonResponse
from veza.http.middleware import access_log
from veza.http.middleware.client_address import TrustedProxies
from veza.http.middleware.cors import Cors
from veza.http.middleware.security_headers import security_headers
from veza.metrics import RouteMeter

if TYPE_CHECKING:
    from veza.http.request import Request

UNMATCHED = RouteMeter("unmatched")


class Edge:
    """Made once an application, from its settings."""

    def __init__(self, settings: Settings, trail: AuditTrail) -> None:
        self._trail = trail
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self._cors = Cors(settings.allowed_origins)
        self._common = {**security_headers(production=settings.production), "Vary": "Origin, Sec-GPC"}
        lines = "".join(f"\r\n{name}: {value}" for name, value in self._common.items())
        # Answers are for whoever asked, and some hold tokens.
        self._json_block = f"application/json\r\nCache-Control: no-store{lines}\r\nX-Request-ID: ".encode()

    def lines(self, request: "Request") -> list[str]:
        """The headers of every response, for one that is written past Sanic."""
        headers = {**self._common, "X-Request-ID": request.request_id}
        if request.standing is not None:
            headers.update(request.standing.headers())
        if request.privacy_control:
            headers["GPC"] = "1"
        origin = request.header("origin")
        if origin is not None:
            headers.update(self._cors.headers(origin, preflight=False))
        return [f"{name}: {value}" for name, value in headers.items()]

    def finish(self, request: "Request", response: BaseHTTPResponse) -> None:
        """Complete the headers of `response` and account for it. Called once a response, before it is sent."""
        if type(response) is JsonResponse:
            response.block = self._json_block + request.request_id.encode()
            if request.standing is not None:
                response.block += request.standing.block()
        else:
            for name, value in self._common.items():
                response.headers.setdefault(name, value)
            response.headers["X-Request-ID"] = request.request_id
            if request.standing is not None:
                response.headers.update(request.standing.headers())
        if request.privacy_control:
            response.headers["GPC"] = "1"
        origin = request.header("origin")
        if origin is not None:
            preflight = request.method == "OPTIONS"
            response.headers.update(self._cors.headers(origin, preflight=preflight))
        seconds = perf_counter() - request.started
        meter: RouteMeter = getattr(request.route and request.route.ctx, "meter", UNMATCHED)
        status = response.status or 200
        meter.observe(request.method, status, seconds)
        if request.method in AUDITED:
            self._trail.note(request, status, meter.route)
        level = logging.DEBUG if meter.probe and status < 400 else logging.INFO
        size = len(response.body or b"")
        access_log.write(request, meter.route, level=level, status=status, size=size, seconds=seconds)
