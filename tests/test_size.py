"""Sizes are those of the files, and gzip's is what the program gzip gives."""

from __future__ import annotations

import os
import subprocess

import pytest

from slimedge.benchmarks.size import file_bytes, gzip_bytes


@pytest.mark.parametrize("content", [b"", b"a" * 100_000, os.urandom(3_000_000), bytes(range(256)) * 9000])
def test_gzip_bytes_are_those_of_gzip_9_without_a_name(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    packed = subprocess.run(["gzip", "-9", "-n", "-c", path], check=True, capture_output=True).stdout

    # Two implementations of deflate; both are zlib's, give or take the framing of blocks.
    assert gzip_bytes([path]) == pytest.approx(len(packed), rel=0.01, abs=8)


def test_the_same_content_has_the_same_size_at_any_time_and_under_any_name(tmp_path):
    first, second = tmp_path / "a.onnx", tmp_path / "a_much_longer_name.onnx"
    for path in (first, second):
        path.write_bytes(bytes(range(256)) * 100)
    os.utime(second, (1_000_000_000, 1_000_000_000))

    assert gzip_bytes([first]) == gzip_bytes([second])


def test_external_weights_count(tmp_path):
    graph, weights = tmp_path / "model.onnx", tmp_path / "model.data"
    graph.write_bytes(b"x" * 10)
    weights.write_bytes(b"y" * 1000)

    assert file_bytes([graph, weights]) == 1010
    assert gzip_bytes([graph, weights]) > gzip_bytes([graph])
