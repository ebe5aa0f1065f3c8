"""What `benchmark_model` prints, from real runs of old and new versions, and whether it measured what was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_files

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime.devices.adb.client import Finished
from slimedge.runtime.devices.adb.judging import judged
from slimedge.runtime.devices.adb.output import flaw, read
from slimedge.runtime.devices.adb.result import Coverage, DelegateUse, RunStatistics
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import Target

# Lines of an old version: no severities, no percentiles, memory by its old name.
OLD = """\
STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [/data/local/tmp/mobilenet_v1_1.0_224_quant.tflite]
Use NNAPI: [1]
NNAPI accelerators available: [vsi-npu]
Loaded model /data/local/tmp/mobilenet_v1_1.0_224_quant.tflite
INFO: Created TensorFlow Lite delegate for NNAPI.
Explicitly applied NNAPI delegate, and the model graph will be completely executed by the delegate.
The input model file size (MB): 4.27635
Initialized session in 13.386ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=1 curr=11403859

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=260 first=3918 curr=3711 min=3700 max=4026 avg=3756.87 std=35

Inference timings in us: Init: 13386, First inference: 11403859, Warmup (avg): 1.14039e+07, Inference (avg): 3756.87
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
Peak memory footprint (MB): init=0 overall=15.3438
"""
# Of a later one: severities, and the delegate took a part.
MIDDLE = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: Graph: [ssd_mobilenet_v2_coco.tflite]
INFO: Signature to run: []
INFO: #threads used for CPU inference: [4]
INFO: Use xnnpack: [1]
INFO: Loaded model ssd_mobilenet_v2_coco.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: XNNPACK delegate created.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate \
w/ 1 delegate kernels.
INFO: The input model file size (MB): 67.3128
INFO: Initialized session in 592.232ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=1 curr=633430

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=605745 curr=618849 min=568228 max=722188 avg=602943 std=27690

INFO: Inference timings in us: Init: 592232, First inference: 633430, Warmup (avg): 633430, Inference (avg): 602943
INFO: Memory footprint delta from the start of the tool (MB): init=133.086 overall=149.531
"""
# Of a new one: percentiles, nodes that were replaced, the peak of memory.
NEW = """\
INFO: STARTING!
INFO: Loaded model convolution.tflite
INFO: Created TensorFlow Lite delegate for GPU.
VERBOSE: Replacing 58 out of 58 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions for the \
whole graph.
INFO: Initialized OpenCL-based API.
INFO: Created 1 GPU delegate kernels.
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
INFO: The input model file size (MB): 4.2761
INFO: Initialized session in 1361.24ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 p95=125113

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 p95=116620

INFO: Inference timings in us: Init: 1361236, First inference: 125113, Warmup (avg): 115344, Inference (avg): 115246
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
INFO: Overall peak memory footprint (MB) via periodic monitoring: 74.6641
INFO: Memory status at the end of exeution:
INFO: - VmRSS              : 74 MB
"""


def test_an_old_version_tells_no_percentiles():
    found = read(OLD)
    warmup, latency = found.phases
    assert (warmup.count, warmup.first_s, warmup.max_s, warmup.std_s) == (1, 11.403859, 11.403859, 0.0)
    assert latency == RunStatistics(
        260, 3918e-6, 3711e-6, 3700e-6, 4026e-6, 3756.87e-6, 35e-6, None, None, None
    )
    assert (found.load_s, found.first_run_s) == (0.013386, 11.403859)
    assert (found.load_footprint_bytes, found.footprint_bytes) == (0, round(15.3438 * 1024 * 1024))
    assert found.peak_rss_bytes is None
    assert found.delegates == (DelegateUse("NNAPI", Coverage.ALL, 1),)
    assert flaw(found) is None


def test_a_part_that_a_delegate_took_has_no_share_where_no_nodes_are_told():
    found = read(MIDDLE)
    assert found.delegates == (DelegateUse("XNNPACK", Coverage.PART, 1),)
    assert found.delegates[0].share is None
    assert found.phases[1].mean_s == 0.602943
    assert flaw(found) is None


def test_a_new_version_tells_percentiles_nodes_and_the_peak_of_memory():
    found = read(NEW)
    latency = found.phases[1]
    assert (latency.p5_s, latency.median_s, latency.p95_s) == (0.112107, 0.11535, 0.11662)
    assert found.peak_rss_bytes == round(74.6641 * 1024 * 1024)
    assert found.delegates == (DelegateUse("GPU", Coverage.ALL, 1, 58, 58),)
    assert found.unconsumed == ()
    assert flaw(found) is None


def test_runs_that_all_took_as_long_have_that_time_as_every_statistic():
    (phase,) = read("count=50 curr=12(all same)").phases
    assert phase == RunStatistics(50, *[12e-6] * 5, 0.0, *[12e-6] * 3)


def test_litert_newer_tool_of_the_same_name_is_read_as_far_as_it_goes():
    lines = [line for line in NEW.splitlines() if "Inference timings" not in line and "emory" not in line]
    lines += ["========== BENCHMARK RESULTS ==========", "Inference (avg):      115.25 ms (50 runs)"]
    found = read("\n".join(lines))
    assert (found.load_s, found.first_run_s, found.mean_s) == (1.36124, 0.125113, None)
    assert found.footprint_bytes is None
    assert flaw(found) is None


def test_a_delegate_that_took_nothing_is_told():
    line = "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
    assert read(line).delegates == (DelegateUse("GPU", Coverage.NONE, 0),)
    assert read(line).delegates[0].share == 0.0


def test_windows_line_ends_and_lines_between_change_nothing():
    assert read(NEW.replace("\n", "\r\n")) == read(NEW)
    noisy = NEW.replace("INFO: Init", "WARNING: linker: odd\n\x00\xff\ufffd\nINFO: Init")
    assert replace(read(noisy), complaints=()) == replace(read(NEW), complaints=())


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("", "no line with the durations"),
        ("\x00\x01 garbage \ufffd", "no line with the durations"),
        (NEW.replace("count=50", "cou\ufffdt=50"), "no line with the durations of the measured runs"),
        (NEW.replace("median=115350", "median=915350"), "contradict each other"),
        (NEW.replace("min=111842", "min=119615"), "contradict each other"),
        (NEW.replace("avg=115246", "avg=118246"), "two different means"),
        (NEW + NEW, "4 lines with the durations"),
        ("\n".join(NEW.splitlines()[9:13]), "no line with the time to load"),
    ],
)
def test_an_output_that_is_not_whole_is_told(broken, reason):
    assert reason in flaw(read(broken))


def test_every_cut_of_an_output_is_whole_or_told():
    whole = {flaw(read(NEW[:length])) for length in range(len(NEW)) if NEW[:length].count("count=50") == 0}
    assert None not in whole
    kept = [read(NEW[:length]) for length in range(NEW.index("Inference timings"), len(NEW))]
    assert {found.phases[1] for found in kept} == {read(NEW).phases[1]}


def verdict(text, *, code=0, provider="cpu", err="", **options):
    job = Job(tiny_files.artifact("net.tflite"), Target("litert", provider), options=options)
    return judged(Finished(code, text, err), job, "phone", lost=False)


def test_a_whole_output_is_taken():
    assert verdict(NEW, provider="gpu").phases[1].count == 50
    assert verdict(OLD, provider="nnapi").phases[1].count == 260
    assert verdict(MIDDLE).phases[1].count == 50  # what XNNPACK leaves runs on the same processor


def test_an_accelerator_that_did_not_say_that_it_took_all_is_refused():
    with pytest.raises(UnavailableError, match=r"does not tell what GPU took of net.tflite"):
        verdict(MIDDLE, provider="gpu")
    part = NEW.replace(
        "completely executed by the delegate.", "partially executed by the delegate w/ 3 delegate kernels."
    )
    part = part.replace("Replacing 58 out of", "Replacing 55 out of")
    with pytest.raises(UnavailableError, match=r"does not take all of net.tflite \(55 of 58 nodes\)"):
        verdict(part, provider="gpu")
    (use,) = verdict(part, provider="gpu", allow_fallback=True).delegates
    assert (use.coverage, use.partitions, use.share) == (Coverage.PART, 3, 55 / 58)


def test_a_delegate_that_cannot_be_applied_is_refused_even_where_a_fallback_is_allowed():
    err = "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n"
    with pytest.raises(UnavailableError, match=r"does not take net.tflite; use the provider cpu"):
        verdict("INFO: STARTING!", code=1, err=err, provider="gpu", allow_fallback=True)


def test_an_old_versions_last_words_are_its_reason():
    text = "STARTING!\nLoaded model net.tflite\nInput tensor #0 should have 4 dimensions!\nBenchmarking failed.\n"
    with pytest.raises(RunError, match=r"exit status 1: .*should have 4 dimensions!\.$"):
        verdict(text, code=1)


def test_flags_that_only_add_facts_may_be_unknown():
    assert verdict("WARN: Unconsumed cmdline flags: --report_peak_memory_footprint=true\n" + NEW).phases
    with pytest.raises(InputError, match="does not know --num_runs"):
        verdict("WARN: Unconsumed cmdline flags: --enable_op_profiling=false --num_runs=50\n" + NEW)


def test_a_signal_is_named():
    with pytest.raises(RunError, match=r"was ended by SIGILL while it ran net.tflite"):
        verdict("INFO: STARTING!", code=132)
