"""The page on which a seller would say who they are; to open it is enough here."""

import html
import sqlite3

from sanic import HTTPResponse

from veza.sandbox.book import shifted_now

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<body style="font-family: sans-serif; max-width: 32em; margin: 4em auto; padding: 0 1em">
<h1>{title}</h1>
<p>{text}</p>
{link}
</body>
</html>
"""


def onboard(db: sqlite3.Connection, token: str) -> HTTPResponse:
    """Complete the onboarding that a link is for, if it is still good."""
    link = db.execute("SELECT * FROM account_links WHERE token = ?", (token,)).fetchone()
    if link is None:
        return _page(404, "This link is not known", "Ask the shop that sent you here for a new one.")
    if link["used"] or link["expires_at"] <= shifted_now(db):
        text = "Each link is good once, and for a few minutes."
        return _page(410, "This link is no longer good", text, link["refresh_url"], "Ask for a new one")
    db.execute("UPDATE account_links SET used = 1 WHERE token = ?", (token,))
    db.execute("UPDATE accounts SET onboarded = 1 WHERE account_id = ?", (link["account_id"],))
    text = f"The account {link['account_id']} can now be paid. No question was asked: this is a sandbox."
    return _page(200, "You are set up", text, link["return_url"], "Back to the shop")


def _page(status: int, title: str, text: str, url: str = "", words: str = "") -> HTTPResponse:
    link = f'<p><a href="{html.escape(url)}">{html.escape(words)}</a></p>' if url else ""
    body = _PAGE.format(title=html.escape(title), text=html.escape(text), link=link)
    return HTTPResponse(body, status=status, content_type="text/html; charset=utf-8")
