"""The README's tables of speed, memory, families and peers, from the files of results."""

from __future__ import annotations

from table_making import NETS, NONE, of, percent, table

from slimedge.benchmarks.peers.judging import over_fastest
from slimedge.benchmarks.peers.rows import OWN, from_json
from slimedge.integers import saturates

SIDES = ("ours", "plain")


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
                others = [row for row in of_net if row.maker not in {"float", *OWN}]
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


def resuming(found):
    kills = found["kills"]

    def met(name, wanted):
        return of((sum(kill[name] == wanted for kill in kills), len(kills)))

    in_training = [kill for kill in kills if kill["resumed"]]
    saved_s = sum(kill["saved_s"] for kill in in_training) / max(1, len(in_training))
    return table(
        "a recipe killed at any moment and run again ([resuming.json](benchmarks/results/resuming.json))",
        [f"{len(kills)} kills"],
        (
            f"all {len(found['sha256'])} models and files as without the kill, to the byte",
            of((sum(kill["same"] == kill["files"] for kill in kills), len(kills))),
        ),
        ("no process left after a second", met("orphans", 0)),
        ("no temporary file left", met("left", [])),
        ("killed in a training that went on from a checkpoint", str(len(in_training))),
        ("seconds of training that these did not do again, mean", f"{saved_s:.1f}"),
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
