"""What type checkers are told agrees with what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="needs the lint dependencies")
ROOT = Path(__file__).parents[2]


def test_the_native_stub_agrees_with_the_native_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "atoll._native"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_flow_through_channels(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(
        """
from typing import assert_type
import atoll

channel = atoll.Channel[int](capacity=3)
channel.send(1)
channel.send("no")  # type: ignore[arg-type]
assert_type(channel.recv(), int)
assert_type(channel.recv_many(3), list[int])
assert_type(channel.sender, atoll.Sender[int])
assert_type([message for message in channel.receiver], list[int])
case, value = atoll.select(channel, channel.receiver)
assert_type(value, int)
atoll.select(channel, channel.sending(2), atoll.after(1), timeout=3)
with channel.sender as sender:
    assert_type(sender, atoll.Sender[int])
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
