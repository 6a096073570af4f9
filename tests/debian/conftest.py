"""Tests with programs of Debian."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def promtool() -> Path:
    return program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> Path:
    return program("prometheus")


def program(name: str) -> Path:
    """Where it is. A missing one is an error: whoever asks for these tests installs what they need."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed: make debian-packages"
    return Path(found)
