"""Both payment adapters: what is known after whatever comes back, and that money is asked for once."""

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider_calls import FAST, IMPATIENT, KEY, KINDS, PAYMENT, TRANSFER, Kind, failure, pay, raised, send, using
from provider_server import Answer, Fault, ProviderServer, Reply, in_turn, refusing

from veza.config import load_settings
from veza.storage.payments import (
    OutcomeUnknown,
    Payment,
    ProviderBusy,
    ProviderRefused,
    ProviderUnreachable,
    Sent,
    open_payments,
)
from veza.storage.payments.calls import retry_after
from veza.storage.payments.connect import StripeConnect
from veza.storage.payments.hyperswitch import Hyperswitch
from veza.storage.payments.wire import LONGEST_ANSWER, NEVER_SENT


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


async def test_what_answers_is_believed(kind: Kind) -> None:
    async with ProviderServer(kind.good) as server, using(kind, server.url) as provider:
        assert await kind.write(provider) == await kind.read(provider)
        assert len(server.requests) == 2
        assert server.connections == 1


async def test_first_calls_at_once_share_a_client(kind: Kind) -> None:
    async with ProviderServer(kind.good) as server, using(kind, server.url) as provider:
        await asyncio.gather(*(kind.read(provider) for _ in range(5)))
        await kind.read(provider)
        assert len(server.requests) == 6
        assert server.connections <= 5


@pytest.mark.parametrize("reads", [False, True])
async def test_refused_connection_is_unreachable(kind: Kind, reads: bool) -> None:
    with refusing() as url:
        async with using(kind, url) as provider:
            assert isinstance(await raised((kind.read if reads else kind.write)(provider)), ProviderUnreachable)


@pytest.mark.parametrize("deaf", [Fault.CUT, Fault.HANG])
async def test_what_was_never_sent_is_tried_three_times(kind: Kind, deaf: Fault) -> None:
    async with ProviderServer(deaf=deaf) as server:
        limits = IMPATIENT if deaf is Fault.HANG else FAST
        async with using(kind, server.tls_url, limits) as provider:
            assert isinstance(await raised(kind.write(provider)), ProviderUnreachable)
        assert server.connections == 3


UNDECIDED: list[Answer] = [
    Fault.HANG,
    Fault.DRIP,
    Fault.CUT,
    Fault.CUT_WITHIN,
    Reply({}, 500),
    Reply({"error": {"type": "api_error", "code": "HE_00", "message": "Something went wrong"}}, 500),
    Reply(b"<h1>Bad gateway</h1>", 502),
    Reply(b"", 503),
    Reply(b"", 302, {"location": "/elsewhere"}),
    Reply(b"<h1>Not here</h1>", 404),
    Reply({"error": "no"}, 400),
    Reply([], 400),
    Reply(b"", 200),
    Reply(b"\xff{", 200),
    Reply({}, 200),
    Reply([], 200),
    Reply(b"null", 200),
    Reply({**PAYMENT, **TRANSFER, "payment_id": None, "id": None}, 200),
    Reply({**PAYMENT, **TRANSFER, "amount": "much"}, 200),
]


@pytest.mark.parametrize("answer", UNDECIDED, ids=str)
async def test_money_is_asked_for_once_when_the_outcome_is_unknown(kind: Kind, answer: Answer) -> None:
    async with ProviderServer(in_turn(answer)) as server:
        limits = IMPATIENT if answer in (Fault.HANG, Fault.DRIP) else FAST
        assert isinstance(await failure(kind, server, limits=limits), OutcomeUnknown)
        assert len(server.requests) == 1


async def test_too_long_an_answer_is_not_kept(kind: Kind) -> None:
    async with ProviderServer(in_turn(Reply(b" " * (LONGEST_ANSWER + 1)))) as server:
        error = await failure(kind, server)
        assert isinstance(error, OutcomeUnknown)
        assert "more than" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [Fault.CUT, Fault.CUT_WITHIN, Reply({}, 500), Reply(b"{", 200)], ids=str)
async def test_reading_is_tried_three_times(kind: Kind, answer: Answer) -> None:
    async with ProviderServer(in_turn(answer)) as server:
        assert isinstance(await failure(kind, server, reads=True), OutcomeUnknown)
        assert len(server.requests) == 3


async def test_reading_may_succeed_in_the_end(kind: Kind) -> None:
    faults: list[Answer] = [Fault.CUT, Reply(b"", 503)]
    async with (
        ProviderServer(lambda request: faults.pop() if faults else kind.good(request)) as server,
        using(kind, server.url) as provider,
    ):
        assert await kind.read(provider) is not None
        assert len(server.requests) == 3


async def test_retries_end_with_the_whole_call(kind: Kind) -> None:
    async with ProviderServer(in_turn(Fault.HANG)) as server:
        assert isinstance(await failure(kind, server, reads=True, limits=IMPATIENT), OutcomeUnknown)
        assert len(server.requests) == 1


@pytest.mark.parametrize("reads", [False, True])
async def test_busy_says_until_when(kind: Kind, reads: bool) -> None:
    busy = Reply({"error": {"message": "Slowly", "code": "lock_timeout"}}, 429, {"Retry-After": "7"})
    async with ProviderServer(in_turn(busy)) as server:
        error = await failure(kind, server, reads=reads)
        assert isinstance(error, ProviderBusy)
        assert error.retry_after == 7.0
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 402, 404])
@pytest.mark.parametrize("reads", [False, True])
async def test_refusal_is_the_last_word(kind: Kind, status: int, reads: bool) -> None:
    refusal = Reply({"error": {"type": "card_error", "code": "IR_06", "message": f"Not with {KEY}"}}, status)
    async with ProviderServer(in_turn(refusal)) as server:
        error = await failure(kind, server, reads=reads)
        assert isinstance(error, ProviderRefused)
        assert error.code == "IR_06"
        assert "Not with ***" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("reads", [False, True])
async def test_a_key_that_is_not_taken_is_no_fault_of_the_request(kind: Kind, status: int, reads: bool) -> None:
    refusal = Reply({"error": {"code": "IR_01", "message": f"Invalid API Key provided: {KEY}"}}, status)
    async with ProviderServer(in_turn(refusal)) as server:
        error = await failure(kind, server, reads=reads)
        assert isinstance(error, ProviderUnreachable)
        assert "_KEY" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "clé"])
async def test_unusable_key_goes_nowhere(key: str) -> None:
    async with ProviderServer() as server:
        for call in (
            pay(Hyperswitch(server.url, key, confirm=True)),
            send(StripeConnect(key, api_base=server.url)),
        ):
            error = await raised(call)
            assert isinstance(error, ProviderUnreachable)
            assert not key or key not in error.message
        assert server.connections == 0


async def test_without_an_address_nothing_is_sent() -> None:
    buyers = Hyperswitch("", KEY, confirm=True, limits=FAST)
    assert isinstance(await raised(pay(buyers)), ProviderUnreachable)
    await buyers.close()


@pytest.fixture(scope="module", params=KINDS)
async def lasting(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderServer, Any, Kind]]:
    """One server and adapter for many examples."""
    kind = KINDS[request.param]
    async with ProviderServer() as server, using(kind, server.url) as provider:
        yield server, provider, kind


HERE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(KEY),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "type", *PAYMENT, *TRANSFER]), inner, max_size=6)
    ),
    max_leaves=10,
)


@given(
    status=st.sampled_from([200, 201, 302, 400, 401, 402, 403, 404, 408, 409, 418, 422, 429, 500, 503]),
    body=st.binary(max_size=20) | HERE.map(msgspec.json.encode),
)
async def test_whatever_comes_back_money_is_asked_for_once(
    lasting: tuple[ProviderServer, Any, Kind], status: int, body: bytes
) -> None:
    server, provider, kind = lasting
    server.requests.clear()
    server.answer = in_turn(Reply(body, status))
    (answer,) = await asyncio.gather(kind.write(provider), return_exceptions=True)
    if isinstance(answer, BaseException):
        assert isinstance(answer, (OutcomeUnknown, ProviderBusy, ProviderRefused, ProviderUnreachable))
        assert KEY not in "".join(traceback.format_exception(answer)) + str(vars(answer))
        assert not isinstance(answer, ProviderRefused) or 400 <= status < 500
    else:
        assert isinstance(answer, (Payment, Sent))
        assert status < 300
    assert sum(request.verb == "POST" for request in server.requests) == 1


@given(st.text() | st.floats().map(str) | st.integers().map(str))
def test_retry_after_is_seconds_or_nothing(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or 0 <= seconds <= 24 * 3600


def test_only_errors_before_sending_say_so() -> None:
    assert isinstance(httpx.PoolTimeout(""), NEVER_SENT)
    assert isinstance(httpx.ConnectTimeout(""), NEVER_SENT)
    for error in (httpx.ReadError(""), httpx.WriteError(""), httpx.RemoteProtocolError(""), httpx.ReadTimeout("")):
        assert not isinstance(error, NEVER_SENT)


@pytest.mark.parametrize(("origin", "confirm"), [("embedded", True), ("environment", False), ("default", False)])
async def test_settings_name_the_providers(origin: Any, confirm: bool, tmp_path: Path) -> None:
    settings = load_settings({"VEZA_DATA_DIR": str(tmp_path)}, None, keep_secrets=False)
    async with ProviderServer(lambda request: Reply(TRANSFER if request.path.startswith("/v1") else PAYMENT)) as server:
        settings = msgspec.structs.replace(
            settings,
            hyperswitch_base_url=server.url,
            hyperswitch_api_key="snd_1",
            stripe_api_base=server.url,
            stripe_secret_key="sk_1",
            origins={**settings.origins, "hyperswitch_base_url": origin},
        )
        async with open_payments(settings) as payments:
            assert (payments.buyers.name, payments.sellers.name) == ("hyperswitch", "stripe")
            assert server.connections == 0
            await payments.buyers.create(
                "p", amount_cents=1, currency="EUR", method="card", description="", return_url="https://veza.test"
            )
            await payments.sellers.send("k", account_id="a", amount_cents=1, currency="EUR", group="g", metadata={})
        paid, sent = server.requests
        assert paid.json["confirm"] is confirm
        assert (paid.headers["api-key"], sent.headers["authorization"]) == ("snd_1", "Bearer sk_1")


def test_opening_imports_nothing_heavy(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from veza.config import load_settings
from veza.storage.payments import open_payments

async def main():
    settings = load_settings({{"VEZA_DATA_DIR": {str(tmp_path)!r}}}, None, keep_secrets=False)
    async with open_payments(settings):
        print(sorted({{"httpx", "stripe"}} & set(sys.modules)))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
