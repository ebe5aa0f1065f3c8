"""What is known of one file: how right, how large, how fast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slimedge.comparison import Accuracy, AccuracyDelta, Speedup

FLOAT, OURS = "float", "slimedge"
# Other files of slimedge's: kernels of 7 bits, whose products with uint8 activations saturate on no CPU; and the int8
# net trained for an epoch, as a peer's is.
SEVEN, TRAINED = "slimedge_7_bits", "slimedge_trained"
OWN = {
    OURS: "**slimedge**",
    SEVEN: "**slimedge**, 7-bit kernels",
    TRAINED: "**slimedge**, trained for an epoch",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One file of one net, or why there is none.

    Attributes:
        net: its name.
        format: of the file.
        maker: `float`, `slimedge`, or a peer.
        reason: why there is no file, or why it does not run; None where it does.
        sha256: of the file.
        file_bytes: its size.
        accuracy: share of right classes; None for an autoencoder.
        over_float: accuracy over that of the float file of the same format, on the same images.
        over_ours: accuracy over that of slimedge's file, likewise.
        squared_error: mean over the pixels of an autoencoder's reconstructions; None for a classifier.
        sqnr_db: of the outputs against the float file's; None for that one.
        ops: executed on integers, and all of them, as the runtime tells.
        median_us: latency of one image.
        time_ratio: its time over that of slimedge's file, from one interleaved run; None for that one.
    """

    net: str
    format: str
    maker: str
    reason: str | None = None
    sha256: str | None = None
    file_bytes: int | None = None
    accuracy: Accuracy | None = None
    over_float: AccuracyDelta | None = None
    over_ours: AccuracyDelta | None = None
    squared_error: float | None = None
    sqnr_db: float | None = None
    ops: tuple[int | None, int | None] | None = None
    median_us: float | None = None
    time_ratio: Speedup | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What no other row has."""
        return self.net, self.format, self.maker


def from_json(told: Mapping[str, Any]) -> Row:
    """Read a row as `dataclasses.asdict` and JSON gave it."""
    kinds = {
        "accuracy": Accuracy,
        "over_float": AccuracyDelta,
        "over_ours": AccuracyDelta,
        "time_ratio": Speedup,
    }
    values = {key: kind(**told[key]) for key, kind in kinds.items() if told[key] is not None}
    ops = None if told["ops"] is None else tuple(told["ops"])
    return Row(**{**told, **values, "ops": ops})


def merged(kept: Iterable[Row], fresh: Iterable[Row], order: Iterable[tuple[str, str, str]]) -> list[Row]:
    """Put rows in the places of those of the same file; only files that are in the order stay."""
    rows = {row.key: row for row in (*kept, *fresh)}
    return [rows[key] for key in order if key in rows]
