"""The payment sandbox of a running platform, told what to do, and asked what it did."""

import json
from typing import Any

import httpx

from system.running import Running
from veza.realtime.payment_events import sign


class Sandbox:
    """Both providers by their own wire protocols, and the controls that only a sandbox has."""

    def __init__(self, system: Running) -> None:
        self._system = system
        self._known = json.loads((system.data_dir / "run" / "state.json").read_text())["sandbox"]
        secrets = json.loads((system.data_dir / "secrets.json").read_text())
        self._secret: str = secrets["hyperswitch_webhook_secret"]

    # -- controls ----------------------------------------------------------------------------------------------

    async def tell(self, path: str, method: str = "POST", **body: Any) -> Any:
        """Use a control; its answer."""
        answer = await self._ask(method, f"/sandbox/{path}", json=body)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    async def fault(self, on: str, kind: str, times: int | None = 1, seconds: float | None = None) -> None:
        """Let the next requests for an operation go wrong."""
        await self.tell("faults", on=on, kind=kind, times=times, seconds=seconds)

    async def mend(self) -> None:
        """No faults any more, and webhooks are sent."""
        await self.tell("faults", "DELETE")
        await self.tell("webhooks/release")

    async def dispute(self, payment_id: str, status: str, **more: Any) -> str:
        """Open a dispute, or decide the one that is open; its id."""
        found: str = (await self.tell("disputes", payment_id=payment_id, status=status, **more))["dispute_id"]
        return found

    async def book(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.tell("book", "GET")
        return found

    # -- what the providers know -------------------------------------------------------------------------------

    async def payment(self, payment_id: str) -> dict[str, Any] | None:
        """A payment; None when the provider has never heard of it."""
        answer = await self._ask("GET", f"/payments/{payment_id}")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 else None

    async def refunds(self, payment_id: str) -> list[dict[str, Any]]:
        """All refunds of a payment."""
        found: list[dict[str, Any]] = (
            await self._ask("POST", "/refunds/list", json={"payment_id": payment_id})
        ).json()["data"]
        return found

    async def sent(self, transfer_id: str) -> list[dict[str, Any]]:
        """What was sent to a seller for one of our transfers."""
        query = {"transfer_group": transfer_id, "limit": 100}
        headers = {"Authorization": f"Bearer {self._known['stripe_secret_key']}"}
        url = f"{self._known['stripe_api_base']}/v1/transfers"
        found: list[dict[str, Any]] = (await self._system.http.get(url, params=query, headers=headers)).json()["data"]
        return found

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        url = f"{self._known['hyperswitch_base_url']}{path}"
        headers = {"api-key": self._known["hyperswitch_api_key"]}
        if method == "GET":
            arguments.pop("json", None)
        return await self._system.http.request(method, url, headers=headers, **arguments)

    # -- webhooks of our own making ----------------------------------------------------------------------------

    def signature(self, body: bytes) -> str:
        return sign(body, self._secret)

    async def post(
        self, body: bytes | dict[str, Any], header: str = "X-Hyperswitch-Signature", signature: str | None = None
    ) -> httpx.Response:
        """Send the platform a webhook, signed as the provider would."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {header: signature or self.signature(content), "Content-Type": "application/json"}
        return await self._system.http.post("webhooks/hyperswitch", content=content, headers=headers)
