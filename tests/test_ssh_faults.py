"""A board that falls silent or breaks off in the middle of a word, by a server that does so on demand."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import pytest
import ssh_server
import tiny_files

pytest.importorskip("asyncssh", reason="needs asyncssh, which `make install` installs")
import fake_ssh

from slimedge.benchmarks import latency
from slimedge.benchmarks.benchmarking import benchmark
from slimedge.runtime.devices import ssh

pytestmark = pytest.mark.skipif(ssh_server.SSH is None, reason="needs ssh: apt-get install openssh-client")

KEEPER = 1  # the first command holds the device
SHORT = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, turn_s=0.005, warm_s=0.05)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Measure a file on a server with some behaviour; its row, and what stays in the server's temporary folder."""
    monkeypatch.setattr(latency, "SETTINGS", {"default": SHORT})
    client = tmp_path / "client"
    client.mkdir()
    (client / "ssh").write_text(
        f'#!/bin/sh\nexec {ssh_server.SSH} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$@"\n'
    )
    (client / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{client}:{os.environ['PATH']}")
    there = tmp_path / "there"
    there.mkdir()

    def measure(behaviour, **settings):
        path = tiny_files.float_onnx(tmp_path / "m.onnx").path
        with fake_ssh.server(there, behaviour) as port:
            target = f"ssh://someone@127.0.0.1:{port}/ort?python={sys.executable}"
            (row,) = benchmark([path], targets=[target], **settings).rows
            end = time.monotonic() + 30
            while any(there.iterdir()) and time.monotonic() < end:
                time.sleep(0.05)
        return row, sorted(there.iterdir())

    return measure


def test_a_server_that_behaves_is_measured(measured):
    row, left = measured(fake_ssh.Behaviour(kept=100))
    assert row.error is None
    assert row.latency_s.p50 > 0
    assert left == []


@pytest.mark.parametrize("after", [0, 10, 1000])
def test_a_connection_that_breaks_off_in_the_middle_of_an_answer_is_one_sentence(measured, after):
    row, left = measured(fake_ssh.Behaviour(kept=KEEPER, breaks_after=after))
    assert "the connection was lost" in str(row.error)
    assert left == []


def test_a_board_that_takes_the_command_and_says_nothing_is_ended(measured):
    row, left = measured(fake_ssh.Behaviour(kept=KEEPER, silent=True), limit_s=1.0)
    assert "after 1 s and was ended" in str(row.error)
    assert left == []


def test_a_board_that_never_says_anything_is_ended(measured, monkeypatch):
    monkeypatch.setattr(ssh, "HOLD_LIMIT_S", 1.0)
    row, left = measured(fake_ssh.Behaviour(silent=True))
    assert "was not done" in str(row.error)
    assert left == []
