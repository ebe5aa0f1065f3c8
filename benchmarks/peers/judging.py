"""The bars: how slimedge's files have to stand beside the float ones and the peers'."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimedge.benchmarks import statistics
from slimedge.benchmarks.peers.registry import FORMATS, PEERS
from slimedge.benchmarks.peers.rows import FLOAT, OURS, OWN, Row
from slimedge.benchmarks.peers.rows import TRAINED as OURS_TRAINED
from slimedge.comparison import Speedup

# Shares of right classes that may be lost, and growth of an autoencoder's squared error, in the same proportion to a
# classifier's share of wrong classes.
LARGEST_LOSS, LARGEST_LAG = 0.002, 0.001
LARGEST_GROWTH, LARGEST_GROWTH_OVER_PEER = 0.02, 0.01
LARGEST_TIME_RATIO = 1.02
TRAINED = frozenset(peer.name for peer in PEERS if "epochs" in peer.settings)
# Shares of 10,000 images are compared, whose difference is not exact in binary.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bar:
    """What was asked, what was found, and whether it is met; what was not measured is not met."""

    asked: str
    found: str
    met: bool


def bars(rows: Sequence[Row], nets: Sequence[str]) -> list[Bar]:
    """Judge slimedge's files of these nets."""
    return [
        *(bar for net in nets for format_ in FORMATS for bar in _exactness(rows, net, format_)),
        *(bar for format_ in FORMATS for bar in _speed(rows, nets, format_)),
    ]


def fastest(rows: Sequence[Row], net: str, format_: str) -> Row | None:
    """Give the peer whose file of a net takes the least time; None where none was timed."""
    timed = [row for row in _peers(rows, net) if row.format == format_ and row.time_ratio]
    return min(timed, key=lambda row: _value(row.time_ratio), default=None)


def over_fastest(
    rows: Sequence[Row], nets: Sequence[str], format_: str, *, own: Collection[str] = (OURS,)
) -> Speedup | None:
    """Give slimedge's time over that of the fastest peer of each net, as the geometric mean over the nets.

    The nets were timed in runs of their own, so the logarithms' errors add up as squares.

    Args:
        rows: of these nets.
        nets: their names.
        format_: of the files.
        own: slimedge's files of which the fastest counts.

    Returns:
        The mean with its 95 % interval; None where a net was not timed.
    """
    ratios: list[Speedup] = []
    for net in nets:
        peer = fastest(rows, net, format_)
        if peer is None or peer.time_ratio is None:
            return None
        mine = [
            row.time_ratio
            for row in rows
            if row.net == net and row.format == format_ and row.maker in own and row.time_ratio
        ]
        mine += [ITSELF] if OURS in own else []
        ratios.append(_over(min(mine, key=_value, default=ITSELF), peer.time_ratio))
    if not ratios:
        return None
    value = statistics.geometric_mean([ratio.value for ratio in ratios])
    below, above = (
        math.sqrt(sum(math.log(end / ratio.value) ** 2 for end, ratio in zip(ends, ratios, strict=True)))
        / len(ratios)
        for ends in ([ratio.low for ratio in ratios], [ratio.high for ratio in ratios])
    )
    return Speedup(value, value * math.exp(-below), value * math.exp(above))


# The time of slimedge's first file over its own.
ITSELF = Speedup(1.0, 1.0, 1.0)


def _over(mine: Speedup, peer: Speedup) -> Speedup:
    """Give the ratio of two ratios of times to the same file; their errors add up as squares."""
    value = mine.value / peer.value
    below = math.hypot(math.log(mine.value / mine.low), math.log(peer.high / peer.value))
    above = math.hypot(math.log(mine.high / mine.value), math.log(peer.value / peer.low))
    return Speedup(value, value * math.exp(-below), value * math.exp(above))


def _exactness(rows: Sequence[Row], net: str, format_: str) -> Iterator[Bar]:
    ours, exact = (
        next((row for row in rows if row.key == (net, format_, maker)), None) for maker in (OURS, FLOAT)
    )
    what, peers = f"{format_} of {net}", _peers(rows, net)
    if ours and exact and ours.accuracy and exact.accuracy:
        lead = ours.accuracy.value - exact.accuracy.value
        yield Bar(
            f"{what}: at most {LARGEST_LOSS:.2%} below float",
            f"{lead:+.2%}",
            lead >= -LARGEST_LOSS - _ROUNDING,
        )
        leads = {row.maker: ours.accuracy.value - row.accuracy.value for row in peers if row.accuracy}
        yield Bar(
            f"{what}: at most {LARGEST_LAG:.2%} below the best peer",
            _beside_best(leads, min),
            bool(leads) and min(leads.values()) >= -LARGEST_LAG - _ROUNDING,
        )
        trained = next((row for row in rows if row.key == (net, format_, OURS_TRAINED)), None)
        if trained and trained.accuracy:
            best = max(peers, key=lambda row: row.accuracy.value if row.accuracy else 0.0)
            lead = trained.accuracy.value - (best.accuracy.value if best.accuracy else 0.0)
            yield Bar(
                f"{what}: trained, at most {LARGEST_LAG:.2%} below the best peer",
                f"{lead:+.2%} ({best.maker})",
                lead >= -LARGEST_LAG - _ROUNDING,
            )
    elif ours and exact and ours.squared_error and exact.squared_error:
        growth = ours.squared_error / exact.squared_error - 1
        yield Bar(
            f"{what}: squared error at most {LARGEST_GROWTH:.0%} above float",
            f"{growth:+.2%}",
            growth <= LARGEST_GROWTH,
        )
        over = {row.maker: ours.squared_error / row.squared_error - 1 for row in peers if row.squared_error}
        yield Bar(
            f"{what}: squared error at most {LARGEST_GROWTH_OVER_PEER:.0%} above the best peer's",
            _beside_best(over, max),
            bool(over) and max(over.values()) <= LARGEST_GROWTH_OVER_PEER,
        )
        trained = next((row for row in rows if row.key == (net, format_, OURS_TRAINED)), None)
        if trained and trained.squared_error and over:
            least = max(over, key=lambda maker: over[maker])
            growth = (1 + over[least]) * trained.squared_error / ours.squared_error - 1
            yield Bar(
                f"{what}: trained, squared error at most {LARGEST_GROWTH_OVER_PEER:.0%} above the best peer's",
                f"{growth:+.2%} ({least})",
                growth <= LARGEST_GROWTH_OVER_PEER,
            )
    else:
        yield Bar(f"{what}: as right as float and the best peer", "not measured", met=False)


def _beside_best(over: Mapping[str, float], worst: Callable[..., str]) -> str:
    """Say how slimedge stands beside the best peer and, where that one was trained on, beside the best that was not."""
    untrained = {maker: value for maker, value in over.items() if maker not in TRAINED}
    best = list(
        dict.fromkeys(worst(some, key=lambda maker: some[maker]) for some in (over, untrained) if some)
    )
    return (
        "; of those that do not train ".join(f"{over[maker]:+.2%} ({maker})" for maker in best)
        or "not measured"
    )


def _speed(rows: Sequence[Row], nets: Sequence[str], format_: str) -> Iterator[Bar]:
    what: dict[str, tuple[str, ...]] = {format_: (OURS,)}
    others = {row.maker for row in rows if row.format == format_ and row.maker in OWN} - {OURS}
    if others:
        what[f"{format_}, slimedge's fastest file"] = (OURS, *sorted(others))
    for name, own in what.items():
        ratio = over_fastest(rows, nets, format_, own=own)
        yield Bar(
            f"{name}: at most {LARGEST_TIME_RATIO} of the time of the fastest peer, geometric mean of the nets",
            "not measured" if ratio is None else f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            ratio is not None and ratio.value <= LARGEST_TIME_RATIO,
        )


def _peers(rows: Sequence[Row], net: str) -> list[Row]:
    """Give the peers' files of a net in both formats."""
    return [row for row in rows if row.net == net and row.maker not in {FLOAT, *OWN}]


def _value(ratio: Speedup | None) -> float:
    return math.inf if ratio is None else ratio.value
