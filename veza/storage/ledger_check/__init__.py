"""Proves that the ledger is right: with itself, with orders and transfers, and with the provider's own records."""

from veza.storage.ledger_check.books import check_books
from veza.storage.ledger_check.findings import Finding, Report
from veza.storage.ledger_check.provider import check_provider

__all__ = ["Finding", "Report", "check_books", "check_provider"]
