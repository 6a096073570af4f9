"""The catalogue: which products are listed, and in which order.

Without a search, indexes alone answer: each sort has its own, with what a list can be narrowed by. A search reads the
table, so it finds only so much. Only ids are sorted; whoever shows products reads their rows afterwards.
"""

import enum
from collections.abc import Mapping
from uuid import UUID

import msgspec

from veza.storage.database import Connection
from veza.storage.words import tsquery

# A search finds no more: counting and comparing what a word as common as "the" is in would take fifty times as long.
MOST_FOUND = 1_000

# What the partial indexes say of what is in them.
LISTED = "status = 'published' AND deleted_at IS NULL"
_QUERY = "to_tsquery('veza', $1)"


class ProductType(enum.StrEnum):
    TRACK = "track"
    ALBUM = "album"
    SAMPLE_PACK = "sample_pack"
    PRESET = "preset"
    BEAT_LICENCE = "beat_licence"
    SERVICE = "service"
    OTHER = "other"


class Sort(enum.StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    PRICE_ASC = "price_asc"
    PRICE_DESC = "price_desc"
    RATING = "rating"
    POPULAR = "popular"
    TITLE = "title"


# Expressions and their directions, as the indexes have them, or all the other way round.
_Keys = tuple[tuple[str, str], ...]
_KEYS: Mapping[Sort, _Keys] = {
    Sort.NEWEST: (("published_at", "DESC"), ("id", "DESC")),
    Sort.OLDEST: (("published_at", "ASC"), ("id", "ASC")),
    Sort.PRICE_ASC: (("price_cents", "ASC"), ("id", "ASC")),
    Sort.PRICE_DESC: (("price_cents", "DESC"), ("id", "DESC")),
    Sort.RATING: (("rating_average", "DESC"), ("rating_count", "DESC"), ("id", "DESC")),
    Sort.POPULAR: (("sold_count", "DESC"), ("id", "DESC")),
    Sort.TITLE: (("lower(title)", "ASC"), ("id", "ASC")),
}
# A word in a title weighs more than one in a description.
_BEST: _Keys = ((f"ts_rank(search, {_QUERY})", "DESC"), ("sold_count", "DESC"), ("id", "DESC"))


class Narrowing(msgspec.Struct, frozen=True):
    """Only products of this kind, of this seller, in this currency and of such a price; None: whatever they are."""

    product_type: ProductType | None = None
    seller_id: UUID | None = None
    currency: str | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None

    def conditions(self, arguments: list[object]) -> str:
        """In SQL; what they compare with is added to the arguments."""
        found = ""
        for condition, value in (
            ("product_type =", self.product_type),
            ("seller_id =", self.seller_id),
            ("currency =", self.currency),
            ("price_cents >=", self.min_price_cents),
            ("price_cents <=", self.max_price_cents),
        ):
            if value is not None:
                arguments.append(value)
                found += f" AND {condition} ${len(arguments)}"
        return found


async def page(
    connection: Connection, *, search: str, sort: Sort | None, narrowing: Narrowing, limit: int, offset: int
) -> tuple[list[UUID], int]:
    """Part of the listed products, and how many there are.

    A search finds what has all of its words, and at most MOST_FOUND products: those that come first. Where no other
    order is asked for that is best match, then best sold.
    """
    query = tsquery(search)
    if query:
        return await _search(connection, query, sort, narrowing, (limit, offset))
    arguments: list[object] = []
    narrowed = narrowing.conditions(arguments)
    where = f"{LISTED}{narrowed}"
    size = f"SELECT count(*) FROM products WHERE {where}" if narrowed else "SELECT listed FROM catalogue_size"  # noqa: S608
    total: int = await connection.fetchval(size, *arguments)
    if offset >= total:
        return [], total
    # Beyond the middle the end is nearer.
    backwards = offset > total // 2
    limit = min(limit, total - offset)
    keys = _KEYS[sort or Sort.NEWEST]
    place = len(arguments)
    rows = await connection.fetch(
        f"""
        SELECT id FROM products WHERE {where}
        ORDER BY {_order(_reversed(keys) if backwards else keys)} LIMIT ${place + 1} OFFSET ${place + 2}
        """,  # noqa: S608 - constants
        *arguments,
        limit,
        total - offset - limit if backwards else offset,
    )
    ids = [row["id"] for row in rows]
    return ids[::-1] if backwards else ids, total


async def _search(
    connection: Connection, query: str, sort: Sort | None, narrowing: Narrowing, page: tuple[int, int]
) -> tuple[list[UUID], int]:
    arguments: list[object] = [query]
    narrowed = narrowing.conditions(arguments)
    limit, offset = page[0], min(page[1], MOST_FOUND)
    arguments += [min(limit, MOST_FOUND - offset), offset]
    part = f"LIMIT ${len(arguments) - 1} OFFSET ${len(arguments)}"
    keys = _KEYS[sort or Sort.POPULAR]
    ids, total = await _sorted(connection, keys, narrowed, part, arguments)
    if total > MOST_FOUND:
        # What was found is not the first of the order. With so much to be found, the first of it are soon met by
        # walking in that order; the function in place of the operator keeps the planner from anything else.
        rows = await connection.fetch(
            f"""
            SELECT id FROM products WHERE {LISTED} AND ts_match_vq(search, {_QUERY}){narrowed}
            ORDER BY {_order(keys)} {part}
            """,  # noqa: S608 - constants
            *arguments,
        )
        return [row["id"] for row in rows], MOST_FOUND
    if sort is None and ids:
        return await _sorted(connection, _BEST, narrowed, part, arguments)
    return ids, total


async def _sorted(
    connection: Connection, keys: _Keys, narrowed: str, part: str, arguments: list[object]
) -> tuple[list[UUID], int]:
    """A part of what a search finds, and how much that is: at most one more than MOST_FOUND."""
    columns = ", ".join(f"{expression} AS k{place}" for place, (expression, _) in enumerate(keys))
    order = ", ".join(f"k{place} {direction}" for place, (_, direction) in enumerate(keys))
    row = await connection.fetchrow(
        f"""
        WITH found AS MATERIALIZED (
            SELECT {columns} FROM products WHERE {LISTED} AND search @@ {_QUERY}{narrowed} LIMIT {MOST_FOUND + 1}
        )
        SELECT ARRAY(SELECT k{len(keys) - 1} FROM found ORDER BY {order} {part}) AS ids,
               (SELECT count(*) FROM found) AS total
        """,  # noqa: S608 - constants
        *arguments,
    )
    return row["ids"], row["total"]


def _order(keys: _Keys) -> str:
    return ", ".join(f"{expression} {direction}" for expression, direction in keys)


def _reversed(keys: _Keys) -> _Keys:
    return tuple((expression, "ASC" if direction == "DESC" else "DESC") for expression, direction in keys)
