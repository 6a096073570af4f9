"""A payment sandbox for tests: its process, what speaks to it, and a server that receives its webhooks."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import stripe

from veza.realtime.payment_events import PaymentEvent, read, verify
from veza.storage.embedded import PaymentSandbox

API_KEY, STRIPE_KEY, WEBHOOK_SECRET = "snd_test_key", "sk_test_key", "webhook-secret"

# Requests that are wrong: the method, the path, the body.
NONSENSE: list[tuple[str, str, bytes]] = [
    ("POST", "/payments", b"\xff{"),
    ("POST", "/payments", b"[" * 100_000),
    ("POST", "/payments", b'{"amount": 1e400, "currency": "EUR"}'),
    ("POST", "/payments", b'{"amount": 99999999999999999999, "currency": "EUR"}'),
    ("POST", "/payments", b'{"amount": 0, "currency": "EUR"}'),
    ("POST", "/payments", b'{"amount": 1, "currency": "euros"}'),
    ("POST", "/payments", b'{"amount": 1, "currency": "EUR", "payment_id": "\\u0000"}'),
    ("POST", "/payments", b" " * 2_000_000),
    ("GET", "/payments/list?limit=0", b""),
    ("GET", "/payments/%00%ff", b""),
    ("PUT", "/payments", b"{}"),
    ("GET", "/nothing", b""),
    ("POST", "/refunds", b"{}"),
    ("POST", "/refunds/list", b'{"offset": -1}'),
    ("POST", "/v1/transfers", b""),
    ("POST", "/v1/transfers", b"amount=1&currency=eur&destination=acct_none"),
    ("POST", "/v1/transfers", b"amount=-1&currency=eur&destination=x"),
    ("POST", "/v1/transfers", b"amount=1&amount[a]=2&currency=eur&destination=x"),
    ("POST", "/v1/transfers", b"amount[a][b][c][d][e][f][g]=2"),
    ("POST", "/v1/transfers", b"%ff=%ff&\xff"),
    ("POST", "/v1/transfers", "amount=²&currency=eur&destination=x".encode()),
    ("POST", "/v1/transfers", b"&".join(b"a%d=" % number for number in range(2000))),
    ("POST", "/v1/transfers/tr_x/reversals", b"unknown=1"),
    ("POST", "/v1/account_links", b"account=x&type=account_onboarding&return_url=javascript:1&refresh_url=x"),
    ("GET", "/v1/transfers?limit=101", b""),
    ("GET", "/v1/transfers?transfer_group[]=a", b""),
    ("DELETE", "/v1/transfers", b""),
    ("POST", "/sandbox/faults", b'{"on": "nothing", "kind": "error"}'),
    ("POST", "/sandbox/faults", b'{"on": "*", "kind": "nothing"}'),
    ("POST", "/sandbox/clock", b'{"advance_seconds": 1e300}'),
    ("POST", "/sandbox/disputes", b'{"payment_id": "none", "status": "opened"}'),
    ("POST", "/sandbox/accounts/none/payout", b""),
    ("POST", "/sandbox/payments/none/webhook", b""),
]


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.02)


async def refused(call: Awaitable[object]) -> stripe.StripeError:
    """How Stripe's library says no."""
    with pytest.raises(stripe.StripeError) as found:
        await call
    return found.value


def payment(payment_id: str, amount: int, method: str) -> dict[str, object]:
    """What asks for one."""
    return {
        "payment_id": payment_id,
        "amount": amount,
        "currency": "EUR",
        "confirm": True,
        "capture_method": "automatic",
        "metadata": {"method": method},
    }


class Received(msgspec.Struct):
    """One webhook as it came, and what it says."""

    body: bytes
    signed: bool
    event: PaymentEvent
    timestamp: str


class Receiver:
    """Takes webhooks, and answers each with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.received: list[Received] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def of(self, payment_id: str) -> list[str]:
        """The names of the events of a payment that were accepted, as they came."""
        return [one.event.name for one in self.received if one.event.payment_id == payment_id]

    async def has(self, payment_id: str, *names: str) -> None:
        """Wait for exactly these events of a payment."""
        await until(lambda: len(self.of(payment_id)) >= len(names))
        assert self.of(payment_id) == list(names)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError), contextlib.closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(headers["content-length"]))
                signed = verify(body, headers.get("x-webhook-signature-512"), WEBHOOK_SECRET)
                timestamp = msgspec.json.decode(body)["timestamp"]
                self.received.append(Received(body, signed, read(body), timestamp))
                writer.write(f"HTTP/1.1 {self.status} Said\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()


class Sandbox:
    """A running sandbox. `http` speaks to Hyperswitch's side and the controls, `stripe` to the other."""

    def __init__(self, directory: Path, receiver: Receiver) -> None:
        self.directory = directory
        self.receiver = receiver
        self.service = PaymentSandbox(
            directory,
            webhook_url=receiver.url,
            api_key=API_KEY,
            stripe_key=STRIPE_KEY,
            webhook_secret=WEBHOOK_SECRET,
        )
        self.http = httpx.AsyncClient(headers={"api-key": API_KEY}, trust_env=False, timeout=20)
        self._wire = stripe.HTTPXClient(timeout=20)

    @property
    def log(self) -> str:
        return (self.directory / "logs" / "paymentsandbox.log").read_text()

    async def start(self) -> None:
        self.service.start()
        await self.service.ready()
        self.http.base_url = httpx.URL(self.service.url)
        client = stripe.StripeClient(
            STRIPE_KEY, base_addresses={"api": self.service.url}, http_client=self._wire, max_network_retries=0
        )
        self.stripe = client.v1

    async def kill(self) -> None:
        """SIGKILL, and gone."""
        pid = self.service.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.service.pid is None)

    async def close(self) -> None:
        await self.http.aclose()
        await self._wire.close_async()
        self.service.stop()

    async def ask(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        """What it answers on Hyperswitch's side, or to a control."""
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def pay(self, payment_id: str, amount: int = 1000, method: str = "card", *, status: int = 200) -> Any:
        return await self.ask("POST", "/payments", payment(payment_id, amount, method), status=status)

    async def refund(self, refund_id: str, payment_id: str, amount: int, *, status: int = 200) -> Any:
        body = {"refund_id": refund_id, "payment_id": payment_id, "amount": amount, "reason": "asked for"}
        return await self.ask("POST", "/refunds", body, status=status)

    async def fault(self, on: str, kind: str, **more: object) -> None:
        await self.ask("POST", "/sandbox/faults", {"on": on, "kind": kind, **more})

    async def book(self) -> Any:
        return await self.ask("GET", "/sandbox/book")

    async def faultless(self) -> bool:
        """Whether all faults have met their requests."""
        return not (await self.book())["faults"]

    async def quiet(self) -> bool:
        """Whether all webhooks are delivered."""
        return not (await self.book())["webhooks"]["waiting"]

    async def seller(self) -> str:
        """An account that can be paid."""
        account = await self.stripe.accounts.create_async({"type": "express", "email": "seller@example.org"})
        assert (await self.http.get(await self.link(account.id))).status_code == 200
        return account.id

    async def link(self, account_id: str) -> str:
        """Where a seller says who they are."""
        link = await self.stripe.account_links.create_async(
            {
                "account": account_id,
                "type": "account_onboarding",
                "return_url": "https://shop.example/back",
                "refresh_url": "https://shop.example/again",
            }
        )
        return link.url

    async def send(self, account_id: str, amount: int, group: str, key: str = "") -> stripe.Transfer:
        return await self.stripe.transfers.create_async(
            {
                "amount": amount,
                "currency": "eur",
                "destination": account_id,
                "transfer_group": group,
                "metadata": {"group": group},
            },
            {"idempotency_key": key or f"key {group}"},
        )

    async def reverse(self, transfer_id: str, amount: int, key: str = "") -> Any:
        return await self.stripe.transfers.reversals.create_async(
            transfer_id, {"amount": amount, "metadata": {"n": "1"}}, {"idempotency_key": key} if key else {}
        )

    async def sent(self, group: str) -> list[stripe.Transfer]:
        """All that was sent under a group."""
        return list((await self.stripe.transfers.list_async({"transfer_group": group})).data)


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Sandbox]:
    """A sandbox and a receiver of its webhooks."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    sandbox = Sandbox(directory, receiver)
    try:
        await sandbox.start()
        yield sandbox
    finally:
        await sandbox.close()
        server.close()


class Customer:
    """Pays and sends money, and asks again under the same name until there is an answer."""

    def __init__(self, sandbox: Sandbox, seller: str) -> None:
        self.sandbox = sandbox
        self.seller = seller
        self.acknowledged: dict[str, str] = {}

    async def shop(self, name: str) -> None:
        for number in range(40):
            label = f"{name}-{number}"
            await self._pay(label)
            await self._send(label)

    async def _pay(self, label: str) -> None:
        while True:
            try:
                answer = await self.sandbox.http.post("/payments", json=payment(label, 10, "card"))
            except httpx.HTTPError:
                await asyncio.sleep(0.01)
                continue
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "HE_01"
            return

    async def _send(self, label: str) -> None:
        while label not in self.acknowledged:
            try:
                self.acknowledged[label] = (await self.sandbox.send(self.seller, 10, label)).id
            except stripe.APIConnectionError:
                await asyncio.sleep(0.01)


def start_by_hand(book: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """How the program ends that is started on a port which it cannot have."""
    secrets = {"SANDBOX_API_KEY": API_KEY, "SANDBOX_STRIPE_KEY": STRIPE_KEY, "SANDBOX_WEBHOOK_SECRET": WEBHOOK_SECRET}
    command = [sys.executable, "-I", "-m", "veza.sandbox", "--port", "1", "--book", str(book)]
    return subprocess.run(
        [*command, "--webhook-url", "http://127.0.0.1:1/"],
        env={**os.environ, **secrets, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
