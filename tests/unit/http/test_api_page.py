"""`docs/api.md` is what the routes say now."""

from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner

from veza.cli.openapi import openapi
from veza.http.app import with_index
from veza.http.gateway import RESOURCES
from veza.http.openapi import openapi_document
from veza.http.reference import markdown

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
DOCUMENT: dict[str, Any] = msgspec.json.decode(openapi_document(with_index(RESOURCES)))


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == markdown(DOCUMENT).rstrip() + "\n", "run `make docs`"


def test_every_operation_is_on_it() -> None:
    page = markdown(DOCUMENT)
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if operation.get("deprecated"):
                assert f"`{path}`" in page
            else:
                assert page.count(f"### {method.upper()} {path}\n\n{operation['summary']}.\n") == 1


def test_the_command_prints_both() -> None:
    printed = CliRunner().invoke(openapi)
    assert msgspec.json.decode(printed.output) == DOCUMENT
    assert CliRunner().invoke(openapi, ["--markdown"]).output == PAGE.read_text()
