"""The README's tables of smaller models, from the files of results."""

from __future__ import annotations

from table_making import NONE, percent, table


def clustered(found):
    kinds = {"onnx": "ONNX", "tflite": "TFLite"}
    nets = found["found"]

    def points(delta):
        return f"{100 * delta['value']:+.2f} ({100 * delta['low']:+.2f} to {100 * delta['high']:+.2f})"

    def heading(net):
        return "16 values" if net["sparsity"] is None else f"{net['sparsity']:.0%} zeros, 16 values"

    rows = [("images that it trained on", NONE, *(f"{net['training_examples']:,}" for net in nets))]
    for kind, name in kinds.items():
        rows += [
            (
                f"accuracy, {name}",
                percent(found["float"]["accuracy"][kind]["value"]),
                *(percent(net["accuracy"][kind]["value"]) for net in nets),
            ),
            (f"points above float, {name}", NONE, *(points(net["accuracy_delta"][kind]) for net in nets)),
            (
                f"bytes after gzip, {name}",
                f"{found['float']['gzip_bytes'][kind]:,}",
                *(f"{net['gzip_bytes'][kind]:,}" for net in nets),
            ),
            (
                f"of the float file's after gzip, {name}",
                NONE,
                *(f"{net['gzip_share'][kind]:.3f}" for net in nets),
            ),
        ]
    rows.append(
        (
            "zeros of pruning that are zeros still",
            NONE,
            *(
                f"{net['zeros'] - net['zeros_lost']:,} of {net['zeros']:,}" if net["zeros"] else NONE
                for net in nets
            ),
        )
    )
    return table(
        "clustering ResNet-8, float files, 10,000 test images ([clustered.json](benchmarks/results/clustered.json))",
        ["float", *map(heading, nets)],
        *rows,
    )


def _interval(values, factor=1, digits=2, unit=""):
    value, low, high = (factor * each for each in values)
    sign = "+" if factor == 100 else ""
    return f"{value:{sign}.{digits}f}{unit} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def channels(found):
    runs, speed = found["runs"], found["speed"]
    recipe = runs[0]["recipe"]
    timed = {"onnx": "ONNX Runtime", "tflite": "LiteRT"}
    columns = [f"{run['model']}, {run['criterion']}" for run in runs]
    rows = [
        ("multiple of channels that is left", *(str(run["recipe"]["multiple"]) for run in runs)),
        ("MACs", *(f"{run['macs'][1]:,} of {run['macs'][0]:,}" for run in runs)),
        ("parameters", *(f"{run['parameters'][1]:,} of {run['parameters'][0]:,}" for run in runs)),
        ("accuracy, whole", *(percent(run["float_accuracy"]) for run in runs)),
        ("accuracy, pruned", *(percent(run["accuracy"]) for run in runs)),
        ("points above the whole net", *(_interval(run["difference"], 100) for run in runs)),
        (
            "points above random",
            *(_interval(run["over_random"], 100) if run["over_random"] else NONE for run in runs),
        ),
        *(
            (
                f"speedup, float, {name}",
                *(_interval(run["speedup"][kind], unit="×") if run["speedup"] else NONE for run in runs),
            )
            for kind, name in timed.items()
        ),
    ]
    caption = (
        f"channels removed to {recipe['macs']:.0%} of the MACs, {recipe['epochs']} epochs, {runs[0]['examples']:,} "
        "test images ([channels.json](benchmarks/results/channels.json))"
    )
    quoted = table(caption, columns, *rows)
    if speed is None:
        return quoted
    reached = speed["speedup"]
    share = max(one["macs"] for one in speed["tries"] if one["speedup"]["value"] >= speed["wanted"])
    lost = speed["accuracy_delta"]
    return quoted + (
        f"\n\n`--target {speed['target']} --speedup {speed['wanted']:g}` on {speed['model']}: "
        f"{_interval((reached['value'], reached['low'], reached['high']), unit='×')} with {share:.0%} of its MACs, "
        f"{_interval((lost['value'], lost['low'], lost['high']), 100)} points.\n"
    )


def low_rank(found):
    nets, recipe = found["nets"], found["recipe"]

    def scored(net, key):
        return percent(net[key]) if net["float_score"] > 0.5 else f"{net[key]:.5f}"

    def points(net, key):
        change = (net[key]["value"], net[key]["low"], net[key]["high"])
        if net["float_score"] > 0.5:
            return _interval(change, 100)
        return _interval([-100 * each / net["float_score"] for each in change], unit=" % error")

    def speedup(net, kind):
        one = net["speedup"][kind]
        return _interval((one["value"], one["low"], one["high"]), unit="×")

    rows = [
        ("MACs", *(f"{net['macs'][1]:,} of {net['macs'][0]:,}" for net in nets)),
        ("parameters", *(f"{net['parameters'][1]:,} of {net['parameters'][0]:,}" for net in nets)),
        ("accuracy, or squared error, float", *(scored(net, "float_score") for net in nets)),
        ("split", *(scored(net, "split_score") for net in nets)),
        ("split and trained", *(scored(net, "trained_score") for net in nets)),
        ("points above float, trained", *(points(net, "trained_change") for net in nets)),
        *(
            (f"speedup, float, {name}", *(speedup(net, kind) for net in nets))
            for kind, name in (("onnx", "ONNX Runtime"), ("tflite", "LiteRT"))
        ),
    ]
    return table(
        f"split by low rank to {found['share_of_macs']:.0%} of the MACs, {recipe['epochs']} epochs, 10,000 test images "
        "([low_rank.json](benchmarks/results/low_rank.json))",
        [net["model"] for net in nets],
        *rows,
    )


def channel_exactness(found):
    rows, nets = found["rows"], found["nets"]

    def summary(measured):
        errors = [one["error"] for one in measured.values()]
        changes = [one["change"] for one in measured.values()]
        return len(measured), f"{max(errors):.0e}", f"{min(changes):.0e}"

    kinds = {"models of the zoo": rows, "nets of keras.applications, pictures of 96 × 96": nets}
    given = {name: measured for name, measured in kinds.items() if measured}
    files = sum(one["files"] for one in rows.values())
    failed = sum(len(one["failures"]) for one in rows.values())
    return table(
        f"{found['ratio']:.0%} of the channels removed ([channel_exactness.json]"
        "(benchmarks/results/channel_exactness.json))",
        [
            "models",
            "largest difference from zeros there, of the output's range",
            "smallest change from the whole",
        ],
        *((name, *map(str, summary(measured))) for name, measured in given.items()),
        (f"files exported, float and quantized: {files}, failures: {failed}", NONE, NONE, NONE),
    )


def two_workers(found):
    kinds = ("one worker", "two workers")
    last = {kind: found["losses"][kind][-1] for kind in kinds}
    return table(
        f"ResNet-8 distilled for {found['steps']} steps, batches of {found['batch_size']}, both on the same "
        f"{found['environment']['cores']} cores ([two_workers.json](benchmarks/results/two_workers.json))",
        ["one worker", "two workers on the loopback"],
        ("loss before the last step", *(f"{last[kind]:.4f}" for kind in kinds)),
        ("largest relative difference of a step's loss", NONE, f"{found['largest_difference']:.1e}"),
        (
            f"the same of one worker whose weights start {found['shift']:g} off",
            f"{found['largest_difference_of_a_shift']:.1e}",
            NONE,
        ),
        ("workers end with the same weights", NONE, "yes" if found["same_weights"] else "no"),
        ("median time of a step", *(f"{found['median_step_s'][kind]:.2f} s" for kind in kinds)),
    )
