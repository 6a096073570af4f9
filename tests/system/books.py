"""The platform's own tables: what no user sees, and time that passes by SQL."""

import json
from typing import Any, Self

import asyncpg

from system.running import Running
from system.sandbox import Sandbox
from system.waiting import until
from veza.storage.database import connect_arguments

AGREE_S = 30.0


class Books:
    """Use with `async with`."""

    def __init__(self, system: Running) -> None:
        self._state = json.loads((system.data_dir / "run" / "state.json").read_text())
        self._pool: Any = None

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(**connect_arguments(self._state["database_url"]), min_size=1, max_size=2)
        return self

    async def __aexit__(self, *_: object) -> None:
        # The server at the other end may have been killed: there is nobody to take leave of.
        self._pool.terminate()

    async def value(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await self._pool.fetchval(query, *arguments)

    async def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self._pool.fetch(query, *arguments)]

    async def change(self, query: str, *arguments: Any) -> int:
        """How many rows were changed."""
        return int((await self._pool.execute(query, *arguments)).rpartition(" ")[2])

    # -- money -------------------------------------------------------------------------------------------------

    async def accounts(self) -> dict[str, dict[str, int]]:
        """What the ledger has on each account, by currency."""
        found: dict[str, dict[str, int]] = {}
        for currency, account, cents in await self.rows(
            "SELECT currency, account, sum(amount_cents)::bigint FROM ledger_entries GROUP BY currency, account"
        ):
            found.setdefault(currency, {})[account] = cents
        return found

    async def agree(self, sandbox: Sandbox) -> None:
        """Wait until nothing is under way, and all that was booked is what the provider has."""
        wrong: list[str] = []

        async def look() -> bool:
            wrong[:] = await self._wrong(sandbox)
            return not wrong

        try:
            await until(look, "the books to agree", AGREE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {wrong}") from None

    async def _wrong(self, sandbox: Sandbox) -> list[str]:
        wrong = []
        accounts, lying = await self.accounts(), (await sandbox.book())["balance"]
        for currency in sorted({*accounts, *lying}):
            found = accounts.get(currency, {})
            if sum(found.values()):
                wrong.append(f"the ledger sums to {sum(found.values())} {currency}")
            passed = ("buyer_clearing", "refunds")
            wrong += [f"{found[name]} {currency} are left on {name}" for name in passed if found.get(name)]
            if found.get("provider", 0) != lying.get(currency, 0):
                wrong.append(f"{found.get('provider', 0)} {currency} are booked, {lying.get(currency, 0)} lie there")
        for name, query in _UNDER_WAY.items():
            if count := await self.value(query):
                wrong.append(f"{count} {name}")
        return wrong


_UNDER_WAY = {
    "refunds are pending": "SELECT count(*) FROM refunds WHERE status = 'pending'",
    "webhooks are not worked off": "SELECT count(*) FROM webhooks WHERE status = 'received'",
    "reversals are pending": "SELECT count(*) FROM reversals WHERE status = 'pending'",
    "transfers could be sent": """
        SELECT count(*) FROM transfers t JOIN seller_accounts a USING (seller_id)
        WHERE a.payouts_enabled AND t.status IN ('pending', 'processing', 'failed')
        """,
    "sellers' debts or claims are not what their transfers say": """
        SELECT count(*) FROM (
            SELECT seller_id, currency, -sum(amount_cents) AS owed FROM ledger_entries
            WHERE seller_id IS NOT NULL GROUP BY seller_id, currency
        ) l
        LEFT JOIN (
            SELECT seller_id, currency, sum(amount_cents - returned_cents - noted_cents) AS open FROM transfers
            WHERE status IN ('pending', 'processing', 'failed', 'dead') GROUP BY seller_id, currency
        ) t USING (seller_id, currency)
        WHERE l.owed > coalesce(t.open, 0)
        """,
}
