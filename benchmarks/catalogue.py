"""Catalogue: how long does a list of products take, of 100,000?

The whole platform with 100,000 published products of 1,000 sellers, made by SQL and vacuumed, as the server does by
itself in time. Their titles have two to six words and descriptions some thirty, of a vocabulary of 20,000 in which a
few words are everywhere and most are rare; prices, sales and ratings are as uneven.

`GET /api/v1/marketplace/products` with 20 products and the total, over HTTP, by four clients that wait for their
answers (closed loop) and ask 50 times a second together. Kinds of requests take turns in a random order, each time
with another word, page or filter. An answer counts from when it was asked for. There is no peer.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

import uvloop

from benchmarks.support.asking import Asker, Failed, asking, percentile
from benchmarks.support.figures import Figure
from benchmarks.support.progress import progress
from benchmarks.support.question import Answer, Options, Question, ask
from benchmarks.support.shop import add_people
from benchmarks.support.stored import connected
from benchmarks.support.system import UNLIMITED, System, running
from veza.storage.catalogue import ProductType, Sort

PRODUCTS, SELLERS, VOCABULARY = 100_000, 1_000, 20_000
CLIENTS, PER_SECOND = 4, 50
PAGE = 20
P99_MS = 25.0
WARM_UP_S = 10.0
CURRENCIES, CURRENCY_WEIGHTS = ("EUR", "USD", "GBP"), (80, 15, 5)
SYLLABLES = ("ba", "dru", "ko", "li", "mo", "na", "pe", "ri", "so", "ta", "vu", "zen", "cha", "fe", "gro", "hi")
FILL_S = 900.0

Parameters = Mapping[str, object]
# What one request of a kind asks for.
Kind = Callable[["Stock"], Parameters]


class Stock:
    """What is for sale, and chance, by which requests differ; the same each time."""

    def __init__(self, products: int, sellers: list[uuid.UUID]) -> None:
        self.products = products
        self.sellers = sellers
        self.chance = random.Random(7)  # noqa: S311 - no secret
        self.words = self._vocabulary()
        # As in a language: the n-th word is met one n-th as often as the first.
        self._weights = list(accumulate(1 / place for place in range(1, VOCABULARY + 1)))

    def _vocabulary(self) -> list[str]:
        """Words of two to four syllables, each once; those met most are short, as they are."""
        found: dict[str, None] = {}
        while len(found) < VOCABULARY:
            length = 2 if len(found) < 100 else 3 if len(found) < 2000 else 4
            found["".join(self.chance.choices(SYLLABLES, k=length))] = None
        return list(found)

    def some(self, count: int) -> str:
        return " ".join(self.chance.choices(self.words, cum_weights=self._weights, k=count))

    def word(self, first: int, last: int) -> str:
        """One between these places, by how often they are met."""
        return self.words[self.chance.randrange(first, last)]

    def offset(self, of: float) -> int:
        """Somewhere around this part of all, at the beginning of a page."""
        return int(self.products * self.chance.uniform(of - 0.05, of)) // PAGE * PAGE

    def record(self) -> tuple[object, ...]:
        """A product's row."""
        chance = self.chance
        ratings = int(chance.paretovariate(1)) if chance.random() < 0.3 else 0
        published = datetime.now(UTC) - timedelta(seconds=chance.uniform(0, 365 * 86400))
        return (
            uuid.UUID(int=chance.getrandbits(128)),
            chance.choice(self.sellers),
            self.some(chance.randint(2, 6)),
            self.some(chance.randint(10, 50)),
            min(99_999_999, 99 + int(chance.lognormvariate(7, 1))),
            chance.choices(CURRENCIES, CURRENCY_WEIGHTS)[0],
            chance.choice(list(ProductType)).value,
            "published",
            int(chance.paretovariate(0.8)) - 1 if chance.random() < 0.5 else 0,
            sum(chance.choices((1, 2, 3, 4, 5), (1, 1, 3, 6, 9), k=min(ratings, 500))),
            min(ratings, 500),
            published,
            published,
        )


COLUMNS = (
    "id", "seller_id", "title", "description", "price_cents", "currency", "product_type", "status", "sold_count",
    "rating_sum", "rating_count", "created_at", "published_at",
)  # fmt: skip


def _sorted_by(sort: Sort) -> Kind:
    return lambda _: {"sort": sort.value}


def _priced(stock: Stock, times: float) -> dict[str, object]:
    least = int(stock.chance.lognormvariate(7, 0.5))
    return {"min_price_cents": least, "max_price_cents": int(least * times)}


KINDS: dict[str, Kind] = {
    **{f"sort {sort}": _sorted_by(sort) for sort in Sort},
    "newest, halfway": lambda stock: {"offset": stock.offset(0.5)},
    "title, last pages": lambda stock: {"sort": "title", "offset": stock.offset(0.99)},
    "search, a word in most": lambda stock: {"search": stock.word(0, 3)},
    "search, a word in most, by price": lambda stock: {"search": stock.word(0, 3), "sort": "price_asc"},
    "search, a common word": lambda stock: {"search": stock.word(50, 300)},
    "search, a rare word": lambda stock: {"search": stock.word(VOCABULARY // 2, VOCABULARY)},
    "search, a prefix": lambda stock: {"search": stock.word(1000, VOCABULARY)[:5]},
    "search, two common words": lambda stock: {"search": f"{stock.word(3, 50)} {stock.word(50, 300)}"},
    "search, deep": lambda stock: {"search": stock.word(0, 3), "offset": stock.chance.randrange(400) * PAGE},
    "of a type": lambda stock: {"product_type": stock.chance.choice(list(ProductType)).value, "sort": "popular"},
    "of a seller": lambda stock: {"seller_id": stock.chance.choice(stock.sellers)},
    "at a price": lambda stock: _priced(stock, 2.0) | {"currency": "EUR", "sort": "rating"},
    "a common word at a price": lambda stock: _priced(stock, 2.0) | {"search": stock.word(50, 300), "currency": "EUR"},
}


def measure(options: Options) -> Answer:
    return uvloop.run(_measure(options))


async def _measure(options: Options) -> Answer:
    runs: list[dict[str, list[float]]] = []
    with running(**UNLIMITED) as system:
        stock = await _fill(system, options.sized(PRODUCTS, 3_000), options.sized(SELLERS, 50))
        details: dict[str, Any] = {"products": stock.products, "per_second": PER_SECOND, "totals": {}}
        cores: dict[str, float] = {}
        async with asking(system.port, CLIENTS) as asker:
            await _ask_all(asker, stock, options.sized(WARM_UP_S, 1.0), {})
            with system.using(cores):
                for _ in range(options.runs):
                    runs.append(await _ask_all(asker, stock, options.seconds, details["totals"]))
                    every = [ms for kind in runs[-1].values() for ms in kind]
                    progress(
                        f"{len(every)} lists, p50 {percentile(every, 0.5):.1f}, p99 {percentile(every, 0.99):.1f} ms"
                    )
        details["cores"] = cores
    details["requests_of_a_kind"] = [min(map(len, run.values())) for run in runs]
    return Answer(figures=_figures(runs), settings=UNLIMITED, details=details)


def _figures(runs: list[dict[str, list[float]]]) -> list[Figure]:
    every = [[ms for kind in run.values() for ms in kind] for run in runs]
    kinds = {"all": every, **{kind: [run[kind] for run in runs] for kind in KINDS}}
    return [
        Figure(
            name=f"products, {kind}, {name}",
            unit="ms",
            runs=[percentile(run, share) for run in found],
            target=P99_MS if name == "p99" else None,
            bound="at most",
        )
        for kind, found in kinds.items()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


async def _fill(system: System, products: int, sellers: int) -> Stock:
    async with connected(system.home) as connection:
        stock = Stock(products, await add_people(connection, sellers, "creator"))
        await connection.copy_records_to_table(
            "products", columns=COLUMNS, records=(stock.record() for _ in range(products)), timeout=FILL_S
        )
        # What autovacuum does after some minutes: pages that all can see are not looked up for each entry of an index.
        await connection.execute("VACUUM ANALYZE products", timeout=FILL_S)
    progress(f"{products:,} products are there")
    return stock


async def _ask_all(asker: Asker, stock: Stock, seconds: float, totals: dict[str, list[int]]) -> dict[str, list[float]]:
    """Milliseconds by kind; in `totals`, the least and the most that a kind found. None is left out."""
    rounds = max(1, round(seconds * PER_SECOND / len(KINDS)))
    plan = [kind for kind in KINDS for _ in range(rounds)]
    stock.chance.shuffle(plan)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    turns = iter(enumerate(plan))
    began = time.monotonic()

    async def client() -> None:
        for number, kind in turns:
            path = "/marketplace/products?" + urlencode({"limit": PAGE, **KINDS[kind](stock)})
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            asked = time.monotonic()
            answer = await asker.ask("GET", path)
            found[kind].append(1000 * (time.monotonic() - asked))
            _check(path, answer)
            least, most = totals.setdefault(kind, [answer["total"], answer["total"]])
            totals[kind] = [min(least, answer["total"]), max(most, answer["total"])]

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    return found


def _check(path: str, answer: Mapping[str, Any]) -> None:
    """Raises Failed for a first page that is not as full as it could be."""
    total, shown = answer["total"], len(answer["products"])
    if shown > total or ("offset" not in path and shown != min(total, PAGE)):
        raise Failed(f"{path}: {shown} products of {total}")


QUESTION = Question("catalogue", "How long does a list of products take, of 100,000?", measure, runs=3, seconds=120.0)

if __name__ == "__main__":
    ask(QUESTION)
