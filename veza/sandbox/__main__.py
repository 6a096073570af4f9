"""`python -m veza.sandbox --port N --book FILE --webhook-url URL`; its secrets come by the environment."""

import argparse
import logging
import os
import sqlite3
import sys
from pathlib import Path

from veza.sandbox.app import Options, serve

SECRETS = ("SANDBOX_API_KEY", "SANDBOX_WEBHOOK_SECRET", "SANDBOX_STRIPE_KEY")


def main() -> None:
    """Serve until a signal ends it; exits with 2 when it must not start."""
    parser = argparse.ArgumentParser(prog="python -m veza.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--webhook-url", required=True)
    given = parser.parse_args()
    if os.environ.get("APP_ENV", "").strip().lower() == "production":
        sys.exit("error: the payment sandbox does not run in production: it takes no real money.")
    missing = [name for name in SECRETS if not os.environ.get(name)]
    if missing:
        parser.error(f"set {', '.join(missing)}")
    if not 0 < given.port < 65536:
        parser.error("a port is between 1 and 65535")
    api_key, webhook_secret, stripe_key = (os.environ[name] for name in SECRETS)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    options = Options(
        port=given.port,
        book=given.book,
        webhook_url=given.webhook_url,
        api_key=api_key,
        webhook_secret=webhook_secret,
        stripe_key=stripe_key,
    )
    try:
        serve(options)
    except (OSError, sqlite3.Error) as error:
        sys.exit(f"error: the payment sandbox cannot serve on port {given.port} with {given.book}: {error}")


if __name__ == "__main__":
    main()
