"""The SDK as gateways serve it, and its types."""

import asyncio
import json
import re
from contextlib import AsyncExitStack

import httpx
import pytest
from chromium import Chromium
from node import NODE, SDK
from pages import Pages
from system.people import People
from system.running import Running
from system.waiting import within

TYPES = sorted(SDK.parent.glob("*.d.ts"))
# What a type says of a class, against what the class has: its own methods and those above it, no private ones.
LIST_MEMBERS = """
import * as sdk from "SDK";
const client = new sdk.Client("http://localhost");
const kinds = { ...sdk };
for (const name of ["conversations", "moderation", "attachments", "notifications", "live", "liveModeration"]) {
  kinds[client[name].constructor.name] = client[name].constructor;
}
const members = (kind) => {
  const found = [];
  for (let at = kind.prototype; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    found.push(...Object.getOwnPropertyNames(at));
  }
  return found;
};
console.log(JSON.stringify(Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, members(kind)]))));
"""


async def test_every_module_is_served_and_kept_fresh(platform: Running, pages: Pages) -> None:
    files, seen = ["veza.js", *(path.name for path in TYPES)], set[str]()
    async with httpx.AsyncClient(base_url=platform.url) as http:
        while files:
            name = files.pop()
            seen.add(name)
            answer = await http.get(f"/sdk/{name}", headers={"Origin": pages.url})
            assert answer.status_code == 200, name
            assert answer.text == SDK.with_name(name).read_text()
            kind = "text/javascript" if name.endswith(".js") else "text/plain"
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
            assert answer.headers["access-control-allow-origin"] == pages.url
            # Asked for again each time, and sent again only when it changed: modules must fit together.
            assert answer.headers["cache-control"] == "no-cache"
            unchanged = {"If-Modified-Since": answer.headers["last-modified"]}
            assert (await http.get(f"/sdk/{name}", headers=unchanged)).status_code == 304
            files += [found for found in re.findall(r'from "\./([\w.]+)"', answer.text) if found not in seen]
        assert seen >= {path.name for path in SDK.parent.glob("*.js")}, "a module that nobody imports"
        for name in ("package.json", "nothing.js", "..%2fsdk%2fveza.js"):
            assert (await http.get(f"/sdk/{name}")).status_code == 404


async def test_the_types_say_what_there_is() -> None:
    script = LIST_MEMBERS.replace("SDK", SDK.as_uri())
    run = await asyncio.create_subprocess_exec(
        str(NODE), "--input-type=module", "--eval", script, stdout=asyncio.subprocess.PIPE
    )
    async with within(20, "node"):
        output, _ = await run.communicate()
    members: dict[str, list[str]] = json.loads(output)
    types = "\n".join(path.read_text() for path in TYPES)
    classes = dict(re.findall(r"^export class (\w+)(.*?)^(?:\}|export )", types, re.DOTALL | re.MULTILINE))
    missing = set(re.findall(r"^export class (\w+)", types, re.MULTILINE)) ^ set(members)
    assert not missing, f"in the types or in the module alone: {missing}"
    for name, body in classes.items():
        for method in re.findall(r"^  (\w+)\(", body, re.MULTILINE):
            assert method in members[name], f"{name}.{method} is in the types alone"


@pytest.mark.debian
async def test_a_page_of_ours_may_use_the_sdk(platform: Running, people: People, chromium: Chromium) -> None:
    """Under the policy of our own pages, from the same origin, in cookie mode: signed in after a reload, too."""
    person = await people.register()
    sign_in = """
    async ([email, password]) => {
      const { Client } = await import("/sdk/veza.js");
      const veza = new Client(location.origin, { cookies: true });
      return [(await veza.login(email, password)).id, veza.tokens.refreshToken];
    }
    """
    come_back = """
    async () => {
      const { Client } = await import("/sdk/veza.js");
      const veza = new Client(location.origin, { cookies: true });
      await veza.resume();
      const chat = await veza.connect();
      const found = chat.userId;
      await veza.logout();
      await veza.close();
      const after = new Client(location.origin, { cookies: true });
      return [found, await after.resume().then(() => "signed in", (error) => error.name)];
    }
    """
    async with AsyncExitStack() as stack:
        page, broken = await chromium.open(f"{platform.url}/swagger", stack)
        assert await page.evaluate(sign_in, [person.email, "SecureP@ssw0rd"]) == [person.id, None]
        await page.reload()
        assert await page.evaluate(come_back) == [person.id, "Unauthenticated"]
        assert not broken
