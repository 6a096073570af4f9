"""Connections that are opened and not used, or used a byte at a time. Last of these tests: what they wait for is over
by then.
"""

import pytest
from system.people import Person

from abuse.crowd import SLOW, Crowd
from abuse.wire import others_are_served

# For a body, the longest; headers have 10 s.
BODY_S = 25
# Who never said anything is not answered.
ENDS = {(kind, "closed" if kind == "nothing" else "408") for kind in SLOW}


@pytest.mark.timeout(90)
async def test_slow_clients_are_cut_off(slow_clients: Crowd, ada: Person) -> None:
    """Those of `test_half_open`, and those that have hung on since the first test of this folder."""
    await others_are_served(ada)
    await slow_clients.ended(BODY_S + 20)
    assert set(slow_clients.ends) == ENDS
    assert slow_clients.open == 0
