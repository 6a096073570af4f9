"""What a node of a cluster is started with: one token, its own metrics, and nobody's choice overruled."""

import stat
from pathlib import Path

import pytest

from veza.actors.environment import node_environment
from veza.errors import StartupError
from veza.metrics import DIRECTORY_VARIABLE


def test_the_head_makes_a_token_that_the_others_need(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    with pytest.raises(StartupError, match="no Ray token"):
        node_environment(home, tmp_path / "data", head=False)
    made = node_environment(home, tmp_path / "data", head=True)
    assert made["RAY_AUTH_MODE"] == "token"
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert len(token.read_text()) >= 32
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    before = token.read_text()
    node_environment(home, tmp_path / "data", head=True)
    assert token.read_text() == before
    assert node_environment(home, tmp_path / "data", head=False)["RAY_AUTH_MODE"] == "token"


def test_a_token_in_the_environment_will_do(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "told"}
    assert node_environment(environment, tmp_path / "data", head=False)["RAY_AUTH_TOKEN"] == "told"
    assert not (tmp_path / ".ray").exists()


def test_what_the_environment_says_stays(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "7"}
    found = node_environment(environment, tmp_path / "data", head=True)
    assert found["RAY_AUTH_MODE"] == "disabled"
    assert found["RAY_health_check_period_ms"] == "7"
    assert not (tmp_path / ".ray").exists()


def test_metrics_begin_empty_in_the_nodes_own_directory(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    directory = Path(node_environment(environment, tmp_path / "data", head=True)[DIRECTORY_VARIABLE])
    (directory / "counter_1.db").write_bytes(b"of an earlier run")
    assert directory.is_relative_to(tmp_path / "data")
    node_environment(environment, tmp_path / "data", head=True)
    assert list(directory.iterdir()) == []


def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StartupError, match=r"VEZA_DATA_DIR .* cannot be used"):
        node_environment({"HOME": str(tmp_path)}, tmp_path / "data", head=True)
