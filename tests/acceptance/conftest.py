"""What tests of money need beside people: the payment sandbox, the platform's books, and somebody who sells."""

from collections.abc import AsyncIterator

import pytest
from system import market
from system.books import Books
from system.people import People, Person
from system.running import Running
from system.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox(system: Running) -> Sandbox:
    return Sandbox(system)


@pytest.fixture(scope="session")
async def books(system: Running) -> AsyncIterator[Books]:
    async with Books(system) as found:
        yield found


@pytest.fixture(scope="module")
async def balanced(books: Books, sandbox: Sandbox) -> AsyncIterator[None]:
    """When the module's tests are done, nothing is under way and every cent is where it belongs."""
    yield
    await sandbox.mend()
    await books.agree(sandbox)


@pytest.fixture(scope="session")
async def admin(people: People) -> Person:
    return await people.administrator()


@pytest.fixture(scope="module")
async def seller(people: People) -> Person:
    """Sells, and can be paid."""
    person = await people.register()
    await person.call("POST", "users/me/creator")
    await market.connect(person)
    return person


@pytest.fixture(scope="module")
async def waiting_seller(people: People) -> Person:
    """Sells, and has no account that money could go to."""
    person = await people.register()
    await person.call("POST", "users/me/creator")
    return person


@pytest.fixture(scope="module")
async def buyer(people: People) -> Person:
    return await people.register()
