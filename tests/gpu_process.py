"""What the tests of GPUs run in a process of its own, as an agent does: a backend's file by its path.

    python gpu_process.py BACKEND_FILE MODEL INPUT.npy PROVIDER

Prints one JSON line: where nodes ran, how far the answer is from the CPU's, and medians of both figures.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from slimedge.runtime.agent import load_backend

RUNS = 3


def median_s(run):
    """Time a call a few times, after once."""
    run()
    samples = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        run()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def main():
    backend_file, path, array, provider = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes print to stdout, too
    backend, kind = load_backend(backend_file), Path(path).suffix[1:]
    on_cpu = backend.load(path, kind, threads=1)
    model = backend.load(path, kind, threads=1, provider=provider)
    feeds = {model.inputs[0]["name"]: np.load(array)}
    exact, found = on_cpu.run(feeds), model.run(feeds)
    resident = model.bind_resident(feeds)
    resident()
    told = {
        "provider": model.provider,
        "ops": model.ops(feeds)["providers"],
        "device": model.device,
        "devices": backend.devices(),
        "providers": backend.providers(),
        "error": max(float(np.max(np.abs(exact[name] - found[name]))) for name in exact),
        "cpu_is_resident": on_cpu.bind_resident(feeds) is not None,
        "end_to_end_s": median_s(model.bind(feeds)),
        "kernel_s": median_s(resident),
    }
    answers.write(json.dumps(told) + "\n")
    answers.flush()
    os._exit(0)  # drivers that are unloaded in any order crash


main()
