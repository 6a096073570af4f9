"""Do Not Sell: set for good, or asked by the browser with each request."""

import pytest
from system.people import Person
from system.running import Running, data_of, refused

GPC = {"Sec-GPC": "1"}


@pytest.mark.parametrize("path", ["health", "no/such/route", "users/me", "../../swagger", "../../sdk/index.js"])
async def test_every_answer_says_that_the_signal_was_heard(system: Running, path: str) -> None:
    heard = await system.http.get(path, headers=GPC)
    assert heard.headers["GPC"] == "1"
    assert "Sec-GPC" in heard.headers["Vary"]
    for other in ({}, {"Sec-GPC": "0"}, {"Sec-GPC": "yes"}):
        assert "GPC" not in (await system.http.get(path, headers=other)).headers


async def test_a_choice_is_kept(ada: Person) -> None:
    assert (await ada.call("GET", "users/me"))["do_not_sell"] is False
    for choice in (True, False, True):
        body = {"do_not_sell": choice}
        assert await ada.call("POST", "users/me/privacy/opt-out", json=body) == body
        assert (await ada.call("GET", "users/me"))["do_not_sell"] is choice


async def test_the_browser_is_taken_at_its_word_for_its_request(ada: Person) -> None:
    headers = {"Authorization": f"Bearer {ada.token}", **GPC}
    assert data_of(await ada.system.http.get("users/me", headers=headers))["do_not_sell"] is True
    assert (await ada.call("GET", "users/me"))["do_not_sell"] is False


async def test_what_is_no_choice_is_refused(ada: Person, system: Running) -> None:
    for body in ({}, {"do_not_sell": "yes"}, {"do_not_sell": None}):
        refused(await ada.ask("POST", "users/me/privacy/opt-out", json=body), 400)
    refused(await system.http.post("users/me/privacy/opt-out", json={"do_not_sell": True}), 401)
