"""One run of the fuzzer: as somebody, over the whole document, against a running platform."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from system import market
from system.people import PASSWORD, People, Person
from system.running import Running

from veza.http.gateway import RESOURCES
from veza.realtime.principal import Role

FUZZER = Path(sys.executable).with_name("schemathesis")
ROLES = ("anonymous", "user", "creator", "moderator", "admin")
# These close the platform, or parts of it, for everybody: run by themselves, last.
FOR_EVERYBODY = ("PUT /api/v1/admin/maintenance", "PUT /api/v1/admin/feature-flags/{name}")
# Where else in a request something known is tried.
IN_BODIES = {
    "body.user_id": "user_id",
    "body.content_id": "user_id",
    "body.items[*].product_id": "product_id",
    "body.member_ids[*]": "user_id",
    "body.current_password": "password",
    "body.new_password": "password",
    "body.password": "password",
}


@dataclass
class Caller:
    """Who calls; nobody without a `person`. `known` are ids of things that exist, by name of the parameter."""

    role: str
    person: Person | None
    known: Mapping[str, Sequence[str]]


@dataclass
class Outcome:
    """What came of a run. `output` tells each failure with a curl command that shows it again."""

    code: int
    output: str
    report: dict[str, Any] = field(repr=False)


@dataclass
class Plan:
    """How much is tried: made-up requests of each operation, and sequences of operations. With `seconds` it goes on
    until they are over.
    """

    phases: str
    examples: int
    scenarios: int = 1
    seed: int = 20260223
    seconds: int | None = None
    only: Sequence[str] = ()


async def caller_of(role: str, people: People) -> Caller:
    """Somebody new with that role, and what the API is about: rooms, messages, files, a report, products."""
    admin = await people.administrator()
    owner, friend = await people.register(), await people.register()
    me = admin if role == "admin" else await people.register()
    if role == "creator":
        await me.call("POST", "users/me/creator")
    if role == "moderator":
        await admin.call("PUT", f"admin/users/{me.id}/role", json={"role": "moderator"})
    known: dict[str, list[str]] = {
        "user_id": [friend.id, owner.id, me.id],
        "action": ["mute", "ban"],
        "password": [PASSWORD],
    }
    known["conversation_id"] = [
        await me.room(friend, name="Mine"),
        await owner.room(me, friend, name="Another's"),
        await owner.room(kind="public", name="Everybody's"),
        await me.room(friend, kind="direct"),
        await owner.room(friend, name="Closed"),
    ]
    known["attachment_id"] = []
    for room_id in known["conversation_id"][:2]:
        await me.post(room_id, "harp")
        answer = await me.call("POST", f"conversations/{room_id}/attachments", files={"file": ("a.txt", b"some text")})
        known["attachment_id"].append(answer["id"])
    report = {"content_type": "user", "content_id": owner.id, "reason": "spam"}
    known["report_id"] = [(await me.call("POST", "reports", json=report))["id"]]
    announcement = {"title": "News", "content": "There is some."}
    known["announcement_id"] = [(await admin.call("POST", "admin/announcements", json=announcement))["id"]]
    known["product_id"] = [await on_sale(owner)]
    if role in ("creator", "moderator", "admin"):
        # Mostly one's own: what another sells nobody else may touch.
        known["product_id"] += [await on_sale(me) for _ in range(8)]
    order = await market.buy(me, *known["product_id"][:1], await market.offer(owner))
    known["order_id"] = [order["id"], (await market.buy(friend, known["product_id"][0]))["id"]]
    known["refund_id"] = [(await market.refunded(me, order["id"], items=known["product_id"][:1]))["id"]]
    known["transfer_id"] = [(await market.transfer_is(owner, order["id"], "pending"))["id"]]
    webhooks = (await admin.call("GET", "admin/webhooks", params={"limit": 3}))["webhooks"]
    known["webhook_id"] = [each["id"] for each in webhooks]
    return Caller(role, None if role == "anonymous" else me, known)


async def on_sale(person: Person) -> str:
    """The id of a product with a cover."""
    await person.call("POST", "users/me/creator")
    body = {"title": "Harp", "price_cents": 2999, "currency": "EUR", "product_type": "track", "status": "published"}
    found: str = (await person.call("POST", "marketplace/products", json=body))["id"]
    cover = ("a.gif", b"GIF89a" + bytes(100))
    await person.call("PUT", f"marketplace/products/{found}/cover", files={"file": cover})
    return found


async def run(system: Running, caller: Caller, plan: Plan) -> Outcome:
    """Let Schemathesis loose, with every check that it has."""
    with tempfile.TemporaryDirectory(prefix="veza-fuzzing-") as name:
        folder = Path(name)
        (folder / "schemathesis.toml").write_text(_config(caller, plan))
        process = await asyncio.create_subprocess_exec(
            str(FUZZER),
            *("--config-file", str(folder / "schemathesis.toml"), "--no-color", "run"),
            *("--checks", "all", "--phases", plan.phases, "--max-examples", str(plan.examples)),
            *(("--max-time", str(plan.seconds)) if plan.seconds else ()),
            *("--report", "json", "--report-json-path", str(folder / "report.json")),
            f"{system.url}/swagger/openapi.json",
            cwd=folder,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "fuzzing.hooks",
                "PYTHONPATH": str(Path(__file__).parent.parent),
                "VEZA_URL": system.url,
                "VEZA_TOKEN": caller.person.token if caller.person else "",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        report = folder / "report.json"
        assert report.exists(), output.decode()
        return Outcome(process.returncode or 0, output.decode(), json.loads(report.read_text()))


def _config(caller: Caller, plan: Plan) -> str:
    """The settings of a run, as TOML: JSON's strings and lists are TOML's too."""
    lines = [
        f"seed = {plan.seed}",
        # Nothing is kept from run to run, so that each is like the last.
        "cache.enabled = false",
        'generation.database = "none"',
        # NUL is refused everywhere, which each schema would have to say.
        "generation.allow-x00 = false",
        # Tokens of people who are about to be gone: failures can be shown again with them.
        "output.sanitization.enabled = false",
        # How long an answer takes is no part of this.
        'suppress-health-check = ["all"]',
        # It would register by itself, and nobody be nobody any more.
        "auth.auto-signup = false",
    ]
    lines.append(f"phases.stateful.generation.max-examples = {plan.scenarios}")
    if caller.person is not None:
        # All refused for want of a right: then nothing was tried.
        lines.append('warnings.fail-on = ["missing_auth"]')
        lines.append(f"auth.openapi.bearer.bearer = {json.dumps(caller.person.token)}")
    lines.append("[dictionaries]")
    lines += [f"{name} = {{ values = {json.dumps(list(ids))} }}" for name, ids in caller.known.items()]
    lines.append("[parameters]")
    places = {**{f"path.{name}": name for name in caller.known if name != "password"}, **IN_BODIES}
    lines += [f'"{place}" = {{ dictionary = "{name}", probability = 0.7 }}' for place, name in places.items()]
    which = ("exclude-name", plan.only) if plan.only else ("include-name", FOR_EVERYBODY)
    lines += ["[[operations]]", f"{which[0]} = {json.dumps(list(which[1]))}", "enabled = false"]
    lines += ["[[operations]]", f"include-name = {json.dumps(refused(caller.role))}", "warnings = false"]
    return "\n".join(lines) + "\n"


def refused(role: str) -> list[str]:
    """What somebody with that role is always refused, as the document names it."""
    labels = ["POST /api/v1/auth/login", "POST /api/v1/auth/refresh", "POST /api/v1/webhooks/hyperswitch"]
    # What the fuzzer makes up is no image.
    labels.append("PUT /api/v1/marketplace/products/{product_id}/cover")
    for route in (route for resource in RESOURCES for route in resource.routes):
        least = route.auth.role
        if least is not None and (role == "anonymous" or not Role(role).includes(least)):
            labels.append(f"{route.method} {route.pattern.replace('<', '{').replace('>', '}')}")
    return labels
