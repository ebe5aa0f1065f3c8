"""What the README's tables are put together from."""

from __future__ import annotations

NETS = {
    "resnet8": "ResNet-8",
    "depthwise_separable": "depthwise-separable net",
    "mobilenet_v3": "MobileNetV3",
    "dense_autoencoder": "dense autoencoder",
}
NONE = "–"


def percent(share):
    return f"{100 * share:.2f} %"


def table(caption, columns, *rows):
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in ((caption, *columns), ("---", *["---:"] * len(columns)), *rows)
    )


def of(counts):
    return f"{counts[0]} of {counts[1]}"
