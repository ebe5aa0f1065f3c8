"""The README's tables of devices, from the files of results."""

from __future__ import annotations

from table_making import NETS, NONE, percent, table

FILES = ("float onnx", "int8 onnx", "float tflite", "int8 tflite")
CPUS = {"cortex-a76": "Cortex-A76", "cortex-a72": "Cortex-A72"}
NPUS = {"ethos-u55-128": "Ethos-U55-128", "ethos-u65-256": "Ethos-U65-256", "ethos-u85-256": "Ethos-U85-256"}


def emulated(found):
    rows = {(row["model"], row["file"], row["cpu"]): row for row in found["rows"]}
    nets = [net for net in NETS if any(row["model"] == net for row in found["rows"])]
    columns = [(net, cpu) for net in nets for cpu in CPUS]

    def counted(row):
        return f"{sum(row['instructions']) / len(row['instructions']) / 1e6:.2f} M"

    integers = [row for row in found["rows"] if row["file"].startswith("int8")]
    exact = sum(row["identical"] for row in integers)
    return table(
        "instructions for one image on the emulated board ([emulated.json](benchmarks/results/emulated.json))",
        [f"{NETS[net]}, {CPUS[cpu]}" for net, cpu in columns],
        *(
            (
                file.replace("onnx", "ONNX").replace("tflite", "TFLite"),
                *(counted(rows[net, file, cpu]) for net, cpu in columns),
            )
            for file in FILES
        ),
        (
            "two boots differ by at most",
            f"{100 * found['largest_spread']:.3f} %",
            *[""] * (len(columns) - 1),
        ),
        (
            f"int8 answers to the bit those of x86, {found['images']} images",
            f"{exact} of {len(integers)} files",
            *[""] * (len(columns) - 1),
        ),
    )


def microcontroller(found):
    nets = found["nets"]

    def row(title, text):
        return (title, *(text(net) for net in nets.values()))

    def reference(net):
        told = net["against"]["litert_reference"]
        return f"{told['examples'] - told['examples_that_differ']:,} of {told['examples']:,}"

    def estimated(name):
        def text(net):
            told = net["vela"][name]
            return f"{told['cycles']['total']:,} cycles, {told['inferences_per_s']:,.0f}/s"

        return text

    return table(
        "int8, on microcontrollers ([microcontroller.json](benchmarks/results/microcontroller.json))",
        [NETS[name] for name in nets],
        row("tensor arena that TFLite Micro tells, bytes", lambda net: f"{net['arena_bytes']:,}"),
        row("smallest arena that it runs in, bytes", lambda net: f"{net['smallest_arena_bytes']:,}"),
        row("model in flash, bytes", lambda net: f"{net['flash']['model_bytes']:,}"),
        row("accuracy in TFLite Micro", lambda net: percent(net["accuracy"]["tflite_micro"])),
        row("answers as LiteRT's reference kernels, to the bit", reference),
        *(row(f"{title}, estimated by Vela", estimated(name)) for name, title in NPUS.items()),
    )


def harness_overhead(found):
    def ratio(compared):
        told = compared["ratio"]
        return f"{told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f})"

    return table(
        "the agent's median over a bare loop's, in one process "
        "([harness_overhead.json](benchmarks/results/harness_overhead.json))",
        ["a bare loop", "ratio"],
        *(
            (compared["name"], f"{compared['bare_us']:.1f} µs", ratio(compared))
            for compared in found["compared"]
        ),
    )


def profile_exactness(found):
    def row(net, told):
        share = told["over_run"]
        return (
            f"{NETS[net]}, {told['file']}",
            f"{told['run_us']:.0f} µs",
            f"{share['value']:.2f} ({share['low']:.2f} to {share['high']:.2f})",
            f"{told['cut_us'] / told['run_us']:.2f}",
            f"{told['added_us']:.1f} µs",
        )

    return table(
        "a profile's ops beside a run ([profile_exactness.json](benchmarks/results/profile_exactness.json))",
        ["a run without the profiler", "the ops over it", "at most cut off, over it", "added to an op"],
        *(row(net, files[file]) for net, files in found["nets"].items() for file in FILES),
    )


def gpu(found):
    return table(
        f"on {', '.join(found['gpus'])} ([gpu.json](benchmarks/results/gpu.json))",
        ["p50", "without copies", "examples/s"],
        *(
            (
                f"{row['model']}, {row['target']}, {row['precision']}, batch {row['batch']}",
                milliseconds(row["end_to_end_s"]),
                milliseconds(row["kernel_s"]),
                f"{row['throughput']:,.0f}",
            )
            for row in found["rows"]
            if row["reason"] is None
        ),
    )


def milliseconds(seconds):
    return NONE if seconds is None else f"{1e3 * seconds:.2f} ms"
