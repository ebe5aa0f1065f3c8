"""The README quotes what was measured: its tables are made from the files of results."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from slimedge.benchmarks.peers.judging import over_fastest
from slimedge.benchmarks.peers.rows import from_json
from slimedge.integers import saturates

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks/results"


def percent(share):
    return f"{100 * share:.2f} %"


def table(caption, columns, *rows):
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in ((caption, *columns), ("---", *["---:"] * len(columns)), *rows)
    )


NETS = {
    "resnet8": "ResNet-8",
    "depthwise_separable": "depthwise-separable net",
    "mobilenet_v3": "MobileNetV3",
    "dense_autoencoder": "dense autoencoder",
}
NONE = "–"


def full_set(found):
    def row(what, value, key=None):
        return (what, *(NONE if key and net[key] is None else value(net) for net in found["nets"]))

    def accuracy(file):
        return row(f"accuracy, {file}", lambda net: percent(net["accuracy"][file.lower()]), "accuracy")

    def error(file):
        caption = f"mean squared error of a pixel, {file}"
        return row(caption, lambda net: f"{net['squared_error'][file.lower()]:.5f}", "squared_error")

    def pair(net, key, one, other):
        return net[key][f"{one} / {other}"]

    files = [f"{kind} {name}" for kind in ("float", "int8") for name in ("ONNX", "TFLite")]
    return table(
        f"Fashion-MNIST, all {found['nets'][0]['examples']:,} test images ([full_set.json]"
        "(benchmarks/results/full_set.json))",
        [NETS[net["model"]] for net in found["nets"]],
        *map(accuracy, files),
        *map(error, files),
        *(
            row(
                f"bytes of int8 over float, {name}",
                lambda net, name=name: f"{net['bytes_share'][name.lower()]:.3f}",
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"convolutions and dense layers on integers, {name}",
                lambda net, name=name: of(net["heavy_ops"][f"int8 {name.lower()}"]),
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"all operators on integers, the two ends apart, {name}",
                lambda net, name=name: of(inner(net["ops"][f"int8 {name.lower()}"])),
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"same class as the int8 Keras graph, 2,000 images, {name}",
                lambda net, name=name: percent(pair(net, "agreement", "int8 keras", f"int8 {name.lower()}")),
                "agreement",
            )
            for name in ("ONNX", "TFLite")
        ),
        row(
            "largest difference of a number in the output, Keras and ONNX",
            lambda net: f"{pair(net, 'largest_difference', 'int8 keras', 'int8 onnx'):.3f}",
        ),
        row(
            "largest difference of a number in the output, ONNX and TFLite",
            lambda net: f"{pair(net, 'largest_difference', 'int8 onnx', 'int8 tflite'):.3f}",
        ),
    )


def inner(counts):
    """Without the QuantizeLinear at the input and the DequantizeLinear at the output."""
    return counts[0], counts[1] - 2


def of(counts):
    return f"{counts[0]} of {counts[1]}"


def qat(found):
    names = list(dict.fromkeys(run["model"] for run in found["runs"]))

    def row(what, bits, value, engine="keras"):
        chosen = {
            name: [
                value(run)
                for run in found["runs"]
                if (run["model"], run["weight_bits"], run["engine"]) == (name, bits, engine)
            ]
            for name in names
        }
        return (
            what,
            *(
                f"{percent(sum(found) / len(found))} ({len(found)})" if found else "–"
                for found in chosen.values()
            ),
        )

    return table(
        "accuracy on all of Fashion-MNIST's test images, mean (of so many seeds) ([qat.json]"
        "(benchmarks/results/qat.json))",
        [NETS[name] for name in names],
        row("float", 8, lambda run: run["float_accuracy"]),
        row("int8, post-training", 8, lambda run: run["post_training_accuracy"]),
        row("int8, trained for one epoch", 8, lambda run: run["trained_accuracy"]),
        row("the same by TFMOT, ranges as calibrated", 8, lambda run: run["trained_accuracy"], "tfmot"),
        row(
            "the same by TFMOT, ranges from -6…6",
            8,
            lambda run: run["trained_accuracy"],
            "tfmot_uncalibrated",
        ),
        row("4-bit weights, trained for one epoch", 4, lambda run: run["trained_accuracy"]),
    )


def words(found):
    def row(what, values, form):
        return (what, *(form(values[kind]) for kind in ("onnx", "tflite")))

    def accuracy(kind):
        return {form: found["accuracy"][f"{kind} {form}"] for form in ("onnx", "tflite")}

    return table(
        f"the language of a word, {found['examples']:,} test words ([words.json]"
        "(benchmarks/results/words.json))",
        ["ONNX", "TFLite"],
        row("accuracy, float", accuracy("float"), percent),
        row("accuracy, quantized", accuracy("quantized"), percent),
        row("bytes of quantized over float", found["bytes_share"], lambda share: f"{share:.3f}"),
    )


def zoo(found):
    rows = found["rows"]
    files = [
        file for one in rows for kind in ("float_files", "quantized_files") for file in one[kind].values()
    ]
    failed = sum(bool(file["reason"]) for file in files)
    small = [one for one in rows if one["file_bytes"] < 200_000_000]
    levels = {
        scheme: [
            file["sqnr_db"]
            for one in rows
            if one["scheme"] == scheme
            for file in one["quantized_files"].values()
            if file["sqnr_db"] is not None
        ]
        for scheme in ("static_wi8_ai8", "weight_only_wi8_afp32")
    }

    def peak(chosen):
        return max(
            bytes_
            for one in chosen
            for bytes_ in (
                one["quantize_peak_bytes"],
                *(
                    file["peak_bytes"]
                    for kind in ("float_files", "quantized_files")
                    for file in one[kind].values()
                ),
            )
        )

    return table(
        "the zoo ([zoo.json](benchmarks/results/zoo.json))",
        [f"{len(rows)} models"],
        ("files that pass, ONNX and TFLite, float and quantized", f"{len(files) - failed} of {len(files)}"),
        (
            "largest error of a float file",
            f"{max(one['max_error'] for one in files if one['max_error']):.0e}",
        ),
        ("lowest SQNR, static int8", f"{min(levels['static_wi8_ai8']):.1f} dB"),
        ("lowest SQNR, weight-only int8", f"{min(levels['weight_only_wi8_afp32']):.1f} dB"),
        ("peak memory, models under 200 MB", f"{peak(small) / 1e9:.2f} GB"),
        (
            "peak memory, VGG16 with 553 MB of weights",
            f"{peak([one for one in rows if one not in small]) / 1e9:.2f} GB",
        ),
        ("minutes", f"{found['minutes']:.0f}"),
    )


def weight_only(found):
    kinds = {"onnx": "ONNX", "tflite": "TFLite"}
    forms = [form for form in found["nets"][0]["accuracy"]["onnx"] if form != "float"]

    def row(what, value):
        return (what, *(value(net) for net in found["nets"]))

    def figures(net, kind, form):
        share, ratio = net["bytes_share"][kind][form], net["time_ratio"][kind][form]["value"]
        return f"{percent(net['accuracy'][kind][form])} / {share:.2f} / {ratio:.2f}"

    return table(
        "weights: accuracy / bytes over float / latency over float ([weight_only.json]"
        "(benchmarks/results/weight_only.json))",
        ["ResNet-8", "depthwise-separable net", "word's language"],
        row("float", lambda net: percent(net["accuracy"]["onnx"]["float"])),
        *(
            row(f"{form}, {name}", partial(figures, kind=kind, form=form))
            for form in forms
            for kind, name in kinds.items()
        ),
    )


def speed(found):
    def row(what, value):
        return (what, *(value(net) for net in found["nets"]))

    def median(kind):
        return lambda net: f"{net['median_us'][kind]:.1f} µs"

    def ratio(key):
        return lambda net: f"{net[key]['value']:.2f} ({net[key]['low']:.2f} to {net[key]['high']:.2f})"

    vnni = "with" if found["vnni"] else "without"
    return table(
        f"median latency, one thread, {found['environment']['cpu']} {vnni} VNNI ([speed.json]"
        "(benchmarks/results/speed.json))",
        [NETS[net["model"]] for net in found["nets"]],
        row("float ONNX, ONNX Runtime", median("float onnx")),
        row("int8 ONNX, ONNX Runtime", median("int8 onnx")),
        row("the same net through `quantize_static`, per channel, U8S8", median("quantize_static onnx")),
        row("float TFLite, LiteRT", median("float tflite")),
        row("int8 TFLite, LiteRT", median("int8 tflite")),
        row("speedup of int8 ONNX over float ONNX", ratio("onnx_speedup")),
        row("speedup of int8 TFLite over float TFLite", ratio("tflite_speedup")),
        row("time of int8 ONNX over that of `quantize_static`'s file", ratio("peer_ratio")),
    )


def peers(found):
    rows = [from_json(told) for told in found["rows"]]
    formats = ("onnx", "tflite")

    def largest(cell, form):
        """Over the nets, of what `cell` gives for slimedge's, the float and the peers' rows of one."""
        columns = []
        for format_ in formats:
            values = []
            for net in found["nets"]:
                of_net = [row for row in rows if row.net == net and row.reason is None]
                ours, exact = (
                    next(row for row in of_net if (row.format, row.maker) == (format_, maker))
                    for maker in ("slimedge", "float")
                )
                others = [row for row in of_net if row.maker not in {"slimedge", "float"}]
                values.append(cell(ours, exact, others))
            columns.append(form(max(value for value in values if value is not None)))
        return columns

    def points(value):
        return f"{100 * value:+.2f}"

    def growth(value):
        return f"{value:+.2%}"

    def lost(ours, exact, _):
        return ours.accuracy and exact.accuracy.value - ours.accuracy.value

    def behind(ours, _, others):
        return ours.accuracy and max(row.accuracy.value for row in others) - ours.accuracy.value

    def grown(ours, exact, _):
        return ours.squared_error and ours.squared_error / exact.squared_error - 1

    def grown_over_best(ours, _, others):
        return ours.squared_error and ours.squared_error / min(row.squared_error for row in others) - 1

    def time(format_):
        ratio = over_fastest(rows, found["nets"], format_)
        return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"

    vnni = "without" if saturates("u8s8", found["environment"]["isa"]) else "with"
    return table(
        f"slimedge beside {len(found['peers'])} other ways to quantize, CPU {vnni} VNNI ([peers.json]"
        "(benchmarks/results/peers.json), [docs/peers.md](docs/peers.md))",
        ["ONNX Runtime", "LiteRT"],
        ("most points that a classifier is below float", *largest(lost, points)),
        ("most points that one is below the best peer, of either runtime", *largest(behind, points)),
        ("squared error of the autoencoder over float", *largest(grown, growth)),
        ("squared error of the autoencoder over the best peer's", *largest(grown_over_best, growth)),
        (
            "time over that of the fastest peer of each net, geometric mean",
            *(time(format_) for format_ in formats),
        ),
    )


def export_cost(found):
    return table(
        "ResNet50 at 224×224, float and int8, to both formats ([export_cost.json]"
        "(benchmarks/results/export_cost.json))",
        ["slimedge", "plain library calls"],
        ("peak memory of the process tree", *(f"{found['peak_bytes'][side] / 1e9:.2f} GB" for side in SIDES)),
        ("time", *(f"{found['seconds'][side]:.0f} s" for side in SIDES)),
    )


SIDES = ("ours", "plain")


def calibration_cost(found):
    few, many = (str(images) for images in found["images"])

    def growth(observer):
        return [
            f"{(net['peak_bytes'][observer][many] - net['peak_bytes'][observer][few]) / 1e6:.0f} MB"
            for net in found["nets"]
        ]

    return table(
        f"calibrating on {int(many):,} images ([calibration_cost.json]"
        "(benchmarks/results/calibration_cost.json))",
        [NETS[net["model"]] for net in found["nets"]],
        *(
            (
                f"time over that of the graph without observers, {observer}",
                *(f"{net['ratio'][observer]:.2f}" for net in found["nets"]),
            )
            for observer in found["nets"][0]["ratio"]
        ),
        *(
            (f"peak memory over that of {few} images, {observer}", *growth(observer))
            for observer in found["nets"][0]["ratio"]
        ),
    )


def observer_effect(found):
    nets = found["nets"]
    return table(
        f"int8 by observer, {found['calibration_examples']} calibration images ([observer_effect.json]"
        "(benchmarks/results/observer_effect.json))",
        [NETS[net["model"]] for net in nets],
        ("float", *(percent(net["float_accuracy"]) for net in nets)),
        *(
            (
                f"`{name}`",
                *(
                    f"{percent(net['observers'][name]['accuracy'])}, "
                    f"{net['observers'][name]['sqnr_db']:.1f} dB"
                    for net in nets
                ),
            )
            for name in nets[0]["observers"]
        ),
    )


def method_effect(found):
    runs = found["runs"]
    nets = [name for name in NETS if any(run["model"] == name for run in runs)]
    rows = dict.fromkeys(
        (run["scheme"], run["granularity"], tuple(run["methods"])) for run in runs if run["model"] in nets
    )

    def cell(model, *row):
        run = next(
            run
            for run in runs
            if (run["model"], run["scheme"], run["granularity"], tuple(run["methods"])) == (model, *row)
        )
        return f"{percent(run['accuracy'])}, {run['sqnr_db']:.1f} dB"

    copies = [run for run in runs if run["model"] not in nets]
    return table(
        f"methods, {found['calibration_examples']} calibration images ([method_effect.json]"
        "(benchmarks/results/method_effect.json))",
        [NETS[name] for name in nets],
        (
            "float",
            *(percent(next(run["float_accuracy"] for run in runs if run["model"] == name)) for name in nets),
        ),
        *((f"`{row[0]}`, {named(row[2])}", *(cell(name, *row) for name in nets)) for row in rows),
        *(
            (f"channels scaled apart, per tensor, {named(run['methods'])}", "–", percent(run["accuracy"]))
            for run in copies
        ),
    )


def activation_bits(found):
    runs = found["runs"]
    nets = list(dict.fromkeys(run["model"] for run in runs))
    kinds = {"keras": "Keras graph", "onnx": "ONNX", "tflite": "TFLite"}

    def row(what, scheme, value):
        chosen = {run["model"]: run for run in runs if run["scheme"] == scheme}
        return (f"{what}, `{scheme}`", *(value(chosen[name]) for name in nets))

    def agreement(run):
        return percent(min(run["agreement"].values()))

    schemes = list(dict.fromkeys(run["scheme"] for run in runs))
    return table(
        f"bits of activations, {found['calibration_examples']} calibration images, {runs[0]['examples']:,} test images "
        "([activation_bits.json](benchmarks/results/activation_bits.json))",
        [NETS[name] for name in nets],
        (
            "accuracy, float",
            *(percent(next(r for r in runs if r["model"] == name)["float_accuracy"]) for name in nets),
        ),
        *(
            row(f"accuracy, {name}", scheme, lambda run, kind=kind: percent(run["accuracy"][kind]))
            for kind, name in kinds.items()
            for scheme in schemes
        ),
        *(row("SQNR against float", scheme, lambda run: f"{run['sqnr_db']:.1f} dB") for scheme in schemes),
        *(row("same class, the lowest of the three pairs", scheme, agreement) for scheme in schemes),
    )


def named(methods):
    return ", ".join(f"`{method}`" for method in methods) or "no method"


def train_demo(found):
    return table(
        "the bundled nets ([train_demo.json](benchmarks/results/train_demo.json))",
        [NETS[name] for name in found],
        ("parameters", *(f"{net['parameters']:,}" for net in found.values())),
        ("epochs of training", *(f"{net['epochs']}" for net in found.values())),
        (
            "accuracy on the test set",
            *(percent(net["accuracy"]["test"]) if "accuracy" in net else NONE for net in found.values()),
        ),
        (
            "mean squared error of a pixel on the test set",
            *(
                f"{net['mean_squared_error']['test']:.4f}" if "mean_squared_error" in net else NONE
                for net in found.values()
            ),
        ),
    )


def train_words(found):
    return table(
        "the bundled LSTM ([train_words.json](benchmarks/results/train_words.json))",
        ["word's language"],
        ("parameters", f"{found['parameters']:,}"),
        ("training words", f"{found['examples']['train']:,}"),
        ("epochs of training", f"{found['epochs']}"),
        (f"accuracy on {found['examples']['test']:,} test words", percent(found["accuracy"]["test"])),
    )


def aa(found):
    def right(slowdown):
        return [of((one["right"], one["of"])) for one in found["summary"] if one["slowdown"] == slowdown]

    return table(
        "verdicts that are right ([aa.json](benchmarks/results/aa.json))",
        [one["file"] for one in found["summary"] if one["slowdown"] == 0],
        ("a file against itself: `no difference`", *right(0)),
        ("against itself, slowed by 10 % inside the agent: `worse`", *right(0.1)),
    )


def bit_budget(found):
    names = list(dict.fromkeys(run["model"] for run in found["runs"]))
    by_methods = {}
    for run in found["runs"]:
        by_methods.setdefault("+".join(run["methods"]) or "nearest integers", {})[run["model"]] = run

    def row(what, runs, cell):
        return (what, *(cell(runs[name]) if name in runs else NONE for name in names))

    def layers(run):
        return ", ".join(
            f"{number} of {bits}{' bits' if bits.isdigit() else ''}" for bits, number in run["layers"].items()
        )

    budget = found["runs"][0]["max_accuracy_drop"]
    rows = [
        row("accuracy, float", next(iter(by_methods.values())), lambda run: percent(run["float_accuracy"]))
    ]
    for methods, runs in by_methods.items():
        rows += [
            row(f"accuracy, {methods}", runs, lambda run: percent(run["accuracy"])),
            row(f"bits a weight, {methods}", runs, lambda run: f"{run['mean_bits']:.2f}"),
            row(f"layers, {methods}", runs, layers),
        ]
    return table(
        f"bits chosen for at most {budget:g} points, all of Fashion-MNIST's test images ([bit_budget.json]"
        "(benchmarks/results/bit_budget.json))",
        [NETS[name] for name in names],
        *rows,
    )


TABLES = {
    table.__name__: table
    for table in (
        full_set,
        qat,
        words,
        weight_only,
        zoo,
        speed,
        peers,
        export_cost,
        calibration_cost,
        observer_effect,
        method_effect,
        activation_bits,
        bit_budget,
        train_demo,
        train_words,
        aa,
    )
}


@pytest.mark.parametrize("result", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_readme_quotes_what_was_measured(result):
    quoted = TABLES[result.stem](json.loads(result.read_text()))
    assert quoted in README.read_text(), f"in README.md, the table of {result.name} is now\n\n{quoted}\n"
