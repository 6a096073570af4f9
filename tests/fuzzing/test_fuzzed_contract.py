"""The contract holds for whatever the document allows and forbids, whoever asks: no failure of ours, no status, type,
header or schema that is not in the document, nothing invalid accepted, nothing valid refused, no credential ignored.
"""

import pytest
from system.people import People
from system.running import Running, data_of

from fuzzing.runs import FOR_EVERYBODY, ROLES, Outcome, Plan, caller_of, run
from veza.http.gateway import RESOURCES

# As much as `make test` has time for; `make fuzz` goes on.
WHOLE = Plan("examples,coverage,fuzzing,stateful", examples=2, scenarios=10)
BRIEF = Plan("examples,fuzzing", examples=2)
PLANS = {"admin": WHOLE}


def check(outcome: Outcome, least: int) -> None:
    assert outcome.code == 0, outcome.output
    operations = outcome.report["operations"]
    assert operations["tested"] == operations["selected"] >= least, outcome.output
    assert outcome.report["test_cases"]["generated"] > operations["tested"], outcome.output


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ROLES)
async def test_the_contract_holds(system: Running, people: People, role: str) -> None:
    outcome = await run(system, await caller_of(role, people), PLANS.get(role, BRIEF))
    routes = sum(len(resource.routes) for resource in RESOURCES)
    check(outcome, routes - len(FOR_EVERYBODY))


async def test_what_closes_the_platform(system: Running, people: People) -> None:
    """Last, and by itself: while it is closed there is little to see."""
    admin = await caller_of("admin", people)
    outcome = await run(system, admin, Plan("examples,coverage,fuzzing", examples=3, only=FOR_EVERYBODY))
    check(outcome, len(FOR_EVERYBODY))
    assert admin.person is not None
    data_of(await admin.person.ask("PUT", "admin/maintenance", json={"enabled": False}))
