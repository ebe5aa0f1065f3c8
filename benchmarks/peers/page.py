"""docs/peers.md: the bars and the table, from what was written to benchmarks/results/peers.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from slimedge.benchmarks.peers.judging import bars
from slimedge.benchmarks.peers.rows import FLOAT, OURS, OWN, Row, from_json
from slimedge.comparison import AccuracyDelta
from slimedge.integers import saturates

RUNTIMES = {"onnx": "ONNX Runtime", "tflite": "LiteRT"}
NONE = "–"
HEADINGS = (
    "net",
    "file",
    "right, or squared error",
    "over float",
    "over slimedge",
    "SQNR",
    "kB",
    "integer ops",
    "median",
    "time over slimedge's",
)


def page(found: Mapping[str, Any]) -> str:
    """Give the page.

    Args:
        found: the content of benchmarks/results/peers.json.
    """
    rows = [from_json(told) for told in found["rows"]]
    notes: list[str] = []
    environment = found["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    packages = dict.fromkeys(f"{peer['package']} {peer['version']}" for peer in found["peers"].values())
    titles = {name: peer["title"] for name, peer in found["peers"].items()}
    table = _table(HEADINGS, (_cells(row, rows, titles, notes) for row in rows))
    judged = bars(rows, found["nets"])
    return _PAGE.format(
        met=sum(bar.met for bar in judged),
        total=len(judged),
        examples=f"{found['test_examples']:,}",
        calibration=found["calibration_examples"],
        cpu=environment["cpu"],
        cores=environment["cores"],
        isa=", ".join(environment["isa"]),
        here="as here" if saturates("u8s8", environment["isa"]) else "unlike here",
        versions=versions,
        packages=", ".join(packages),
        bars=_table(
            ("bar", "found", ""),
            ((bar.asked, bar.found, "met" if bar.met else "**missed**") for bar in judged),
        ),
        table=table,
        notes="\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1))
        or "Every peer made every file.",
    )


def as_json(rows: Sequence[Row], nets: Sequence[str]) -> dict[str, Any]:
    """Give rows and bars as JSON values."""
    return {
        "rows": [asdict(row) for row in rows],
        "bars": [asdict(bar) for bar in bars(rows, nets)],
    }


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, ("---",) * len(headings), *rows))


def _cells(row: Row, rows: Sequence[Row], titles: Mapping[str, str], notes: list[str]) -> tuple[str, ...]:
    runtime = RUNTIMES[row.format]
    own = {maker: f"{title}, {runtime}" for maker, title in {FLOAT: "float", **OWN}.items()}
    name = own.get(row.maker) or titles[row.maker]
    if row.reason is not None:
        if row.reason not in notes:
            notes.append(row.reason)
        mark = f"none [{notes.index(row.reason) + 1}]"
        return (row.net, name, mark, *[NONE] * (len(HEADINGS) - 3))
    others = {other: _other(rows, row, other) for other in (FLOAT, OURS)}
    ratio = row.time_ratio
    return (
        row.net,
        name,
        NONE
        if row.accuracy is None and row.squared_error is None
        else f"{row.accuracy.value:.2%}"
        if row.accuracy
        else f"{row.squared_error:.5f}",
        _over(row, others[FLOAT], row.over_float),
        _ahead(
            _over(row, others[OURS], row.over_ours),
            row.maker not in {FLOAT, *OWN} and _more_right(row, others[OURS]),
        ),
        NONE if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB",
        NONE if row.file_bytes is None else f"{row.file_bytes / 1e3:,.0f}",
        NONE if row.ops is None or row.ops[0] is None else f"{row.ops[0]} of {row.ops[1]}",
        NONE if row.median_us is None else f"{row.median_us:.1f} µs",
        NONE
        if ratio is None
        else _ahead(
            f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            row.maker not in {FLOAT, *OWN} and ratio.high < 1,
        ),
    )


def _other(rows: Sequence[Row], row: Row, maker: str) -> Row | None:
    """Give the row of another maker that this one is compared with; None for itself."""
    return next((one for one in rows if one.key == (row.net, row.format, maker) and maker != row.maker), None)


def _over(row: Row, other: Row | None, delta: AccuracyDelta | None) -> str:
    """Give points of accuracy, or per cent of squared error, over another file."""
    if delta is not None:
        low, high = 100 * delta.low, 100 * delta.high
        return f"{100 * delta.value:+.2f} ({low:+.2f} to {high:+.2f})"
    if other is None or not row.squared_error or not other.squared_error:
        return NONE
    return f"{row.squared_error / other.squared_error - 1:+.2%}"


def _more_right(row: Row, ours: Row | None) -> bool:
    """Tell whether a file is more right than slimedge's: beyond the interval, or by a smaller error."""
    if row.over_ours is not None:
        return row.over_ours.low > 0
    errors = ours and ours.squared_error
    return bool(errors and row.squared_error and row.squared_error < errors)


def _ahead(cell: str, ahead: bool) -> str:
    return f"**{cell}**" if ahead else cell


_PAGE = """# Beside the peers

The four bundled nets, quantized by slimedge (`static_wi8_ai8`) and by other tools, each in an environment of its own
with the versions that it is pinned to: the same float model, the same {calibration} training images for calibration,
the same {examples} test images, and for each net and runtime one interleaved run of all files on one thread, batch 1.
`make peers` measures it and writes this page and [peers.json](../benchmarks/results/peers.json). slimedge meets {met}
of {total} bars.

{cpu}, {cores} cores ({isa}); {versions}. Peers: {packages}.

{bars}

An autoencoder has no share of right answers; its squared error may grow in the proportion that a classifier's share of
wrong answers may. The best peer is that of either format, trained or not; the fastest is another one for each net.

{table}

**right**: share of the test images; for the autoencoder the mean squared error of a pixel. **over float**, **over
slimedge**: points of accuracy, with the 95 % interval of the paired difference, or growth of the squared error, over
the file of the same format. **SQNR**: of the outputs against the float file's. **integer ops**: as the runtime executes
them. **time over slimedge's**: ratio of median latencies with its 95 % interval, over 1 where slimedge's file is
faster. **Bold** is where a peer is ahead of slimedge: its interval, or for the autoencoder its error, lies wholly on
its side. The files are fed and read as floats; those with a dynamic scheme compute on integers inside single
operators only.

On an x86 CPU without VNNI, {here}, products of uint8 activations and int8 weights may saturate, which costs files of
these types accuracy. `quantize_static` makes what it is asked for; slimedge chooses types that are exact on the CPU,
and with kernels of 7 bits that is the fast pair (`slimedge quantize --target ort` tries it).

Nets are trained on for one epoch where it is said so, by TFMOT and by slimedge, on all training images but those for
calibration; all others are quantized after training.

{notes}
"""
