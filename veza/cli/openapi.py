"""`veza openapi`."""

import json

import click


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="As a page to read: docs/api.md.")
def openapi(as_markdown: bool) -> None:
    """Print the OpenAPI document of this version, for client generators and for docs/api.md."""
    from veza.http.app import with_index
    from veza.http.gateway import RESOURCES
    from veza.http.openapi import openapi_document
    from veza.http.reference import markdown

    document = json.loads(openapi_document(with_index(RESOURCES)))
    click.echo(markdown(document).rstrip() if as_markdown else json.dumps(document, indent=2, ensure_ascii=False))
