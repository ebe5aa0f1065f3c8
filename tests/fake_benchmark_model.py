"""Stands for LiteRT's `benchmark_model`: knows its flags, runs the model with LiteRT, and prints its lines.

The first word says how it behaves. `measured` really runs the model and keeps the durations in a file beside the
device's folder; the others print what real runs printed, or misbehave.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

KNOWN = {
    *(
        "graph",
        "num_threads",
        "warmup_runs",
        "warmup_min_secs",
        "num_runs",
        "min_secs",
        "max_secs",
        "use_xnnpack",
    ),
    *(
        "use_gpu",
        "use_nnapi",
        "enable_op_profiling",
        "report_peak_memory_footprint",
        "require_full_delegation",
    ),
    *("memory_footprint_check_interval_ms", "input_layer", "input_layer_shape", "gpu_precision_loss_allowed"),
}
NEWER = """\
INFO: Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: XNNPACK delegate created.
INFO: Explicitly applied {name} delegate, and the model graph will be {how} executed by the delegate{kernels}.
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 1361.24ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 p95=125113

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 p95=116620

INFO: Inference timings in us: Init: 1361236, First inference: 125113, Warmup (avg): 115344, Inference (avg): 115246
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
"""


def main() -> int:
    behaviour, given = sys.argv[1], sys.argv[2:]
    told = dict(word.removeprefix("--").partition("=")[::2] for word in given)
    lacking = {"no_gpu": {"use_gpu"}, "ancient": {"min_secs", "report_peak_memory_footprint"}}.get(
        behaviour, set()
    )
    print("INFO: STARTING!")
    unknown = [word for word in given if word.removeprefix("--").partition("=")[0] not in KNOWN - lacking]
    if unknown:
        print("WARN: Unconsumed cmdline flags:", *unknown)
    if behaviour == "hangs":
        print("INFO: Loaded model model.tflite", flush=True)
        time.sleep(600)
    if behaviour == "crashes":
        print("INFO: Loaded model model.tflite", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "garbage":
        os.write(1, bytes(range(256)) * 8)
        return 0
    if behaviour == "endless":
        while True:
            os.write(1, b"\xff\x00garbage " * 4096)
    if behaviour == "fails":
        print("ERROR: Failed to load model model.tflite", file=sys.stderr)
        print("ERROR: Benchmarking failed.", file=sys.stderr)
        return 1
    if behaviour == "full":
        print("write: No space left on device", file=sys.stderr)
        return 1
    if behaviour == "partial":
        print(
            "VERBOSE: Replacing 9 out of 12 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions.",
            file=sys.stderr,
        )
        if told.get("require_full_delegation") == "true":
            print("ERROR: Disallowed CPU fallback detected.", file=sys.stderr)
            print("ERROR: Benchmarking failed.", file=sys.stderr)
            return 1
        print(NEWER.format(name="GPU", how="partially", kernels=" w/ 3 delegate kernels"))
        return 0
    if behaviour == "measured":
        measured(told)
        return 0
    name = "GPU" if told.get("use_gpu") == "true" and "use_gpu" not in lacking else "XNNPACK"
    print(NEWER.format(name=name, how="completely", kernels=""))
    return 0


def measured(told: dict[str, str]) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    start = time.perf_counter_ns()
    interpreter = Interpreter(told["graph"], num_threads=int(told["num_threads"]))
    interpreter.allocate_tensors()
    session_us = (time.perf_counter_ns() - start) // 1000
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    phases = []
    for runs, least_s in (("warmup_runs", "warmup_min_secs"), ("num_runs", "min_secs")):
        durations, began_s = [], time.perf_counter()
        while len(durations) < int(told[runs]) or time.perf_counter() - began_s < float(told[least_s]):
            start = time.perf_counter_ns()
            interpreter.invoke()
            durations.append((time.perf_counter_ns() - start) // 1000)
        phases.append(durations)
    first = phases[0][0]
    print(
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate."
    )
    print(f"INFO: Initialized session in {session_us / 1000:g}ms.")
    for durations in phases:
        ordered = sorted(durations)
        low, middle, high = (ordered[int(part / 100 * (len(ordered) - 1))] for part in (5, 50, 95))
        print(
            f"INFO: count={len(durations)} first={durations[0]} curr={durations[-1]} min={ordered[0]} "
            f"max={ordered[-1]} avg={np.mean(durations):g} std={int(np.std(durations))} "
            f"p5={low} median={middle} p95={high}\n"
        )
    print(
        f"INFO: Inference timings in us: Init: {session_us}, First inference: {first}, "
        f"Warmup (avg): {np.mean(phases[0]):g}, Inference (avg): {np.mean(phases[1]):g}"
    )
    print("INFO: Overall peak memory footprint (MB) via periodic monitoring: 93.2383")
    kept = {"phases": phases, "session_us": session_us}
    (Path(os.environ["DEVICE"]) / "durations.json").write_text(json.dumps(kept), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
