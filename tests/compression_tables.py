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
