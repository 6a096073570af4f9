"""Log lines: one line an event, whatever is in it."""

import json
import logging
import sys
from pathlib import Path

import pytest

from veza import logs
from veza.logs import JsonFormatter, TextFormatter, request_id


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "veza.test", "levelno": 30, "levelname": "WARNING", "msg": message})
    made.created, made.msecs = 1_800_000_000.25, 250
    vars(made).update(extra)
    return made


def test_json_carries_extra_and_request_id() -> None:
    token = request_id.set("abc")
    try:
        line = json.loads(JsonFormatter("gateway-0").format(record("slow", seconds=1.5, error=ValueError("x"))))
    finally:
        request_id.reset(token)
    assert line["time"] == "2027-01-15T08:00:00.250Z"
    assert (line["level"], line["process"], line["message"]) == ("warning", "gateway-0", "slow")
    assert (line["seconds"], line["error"], line["request_id"]) == (1.5, "x", "abc")


def test_text_cannot_be_made_to_look_like_two_lines() -> None:
    line = TextFormatter("gateway-0").format(record("a\nb", path="/x\n12:00:00.000 ERROR forged"))
    assert "\n" not in line
    assert line.startswith("08:00:00.250 WARNING gateway-0 a\\nb")


def test_a_traceback_is_kept() -> None:
    try:
        int("broken")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    assert "ValueError: invalid literal" in TextFormatter("serve").format(failed)
    assert "ValueError: invalid literal" in json.loads(JsonFormatter("serve").format(failed))["exception"]


def test_a_large_file_is_rotated_and_the_oldest_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 10)
    monkeypatch.setattr(logs, "KEPT_FILES", 2)
    file = tmp_path / "veza.log"
    for number in range(4):
        file.write_text(f"{number}" * 10)
        logs.rotate(file)
    assert not file.exists()
    assert (tmp_path / "veza.log.1").read_text() == "3" * 10
    assert (tmp_path / "veza.log.2").read_text() == "2" * 10
    assert len(list(tmp_path.iterdir())) == 2


def test_a_small_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "veza.log"
    logs.rotate(file)
    file.write_text("x")
    logs.rotate(file)
    assert file.read_text() == "x"
