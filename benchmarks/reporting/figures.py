"""Numbers as people read them, the same in every kind of report; what was not measured is a dash."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slimedge.artifact import Step
from slimedge.comparison import Comparison, Variant
from slimedge.measurement import Environment

NOT_MEASURED = "–"
_LISTED = 2
_HASH = re.compile(r"[0-9a-f]{40,}")


def size(count: float | None) -> str:
    """Give bytes in decimal units: `98.5 kB`."""
    if count is None:
        return NOT_MEASURED
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{_three_digits(count)} {unit}"
        count /= 1000.0
    return f"{_three_digits(count)} GB"


def seconds(duration: float | None) -> str:
    """Give a duration in its own unit: `74.1 µs`, `2.5 ms`, `1.2 s`."""
    if duration is None:
        return NOT_MEASURED
    if duration < 999.5e-6:
        return f"{_three_digits(duration * 1e6)} µs"
    if duration < 999.5e-3:
        return f"{_three_digits(duration * 1e3)} ms"
    return f"{_three_digits(duration)} s"


def cut_seconds(duration: float, cut_s: float) -> str:
    """Give a duration of which up to `cut_s` was cut off; of one that was cut down to nothing, what it is less than.

    Example:
        >>> cut_seconds(41.2e-6, 1e-6), cut_seconds(0.0, 2e-6)
        ('41.2 µs', '< 2.00 µs')
    """
    return seconds(duration) if duration >= cut_s else f"< {seconds(duration + cut_s)}"


def long_time(duration: float | None) -> str:
    """Give a time that somebody waited: `3.21 s`, `12 min`, `2 h 5 min`."""
    if duration is None or duration < 99.5:
        return seconds(duration)
    minutes = round(duration / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(share: float | None) -> str:
    """Give a share of 1 in percent with two places."""
    return NOT_MEASURED if share is None else f"{100.0 * share:.2f} %"


def points(share: float | None) -> str:
    """Give a difference of shares in percentage points, with its sign."""
    if share is None:
        return NOT_MEASURED
    rounded = round(100.0 * share, 2)
    return "±0.00" if rounded == 0 else f"{rounded:+.2f}".replace("-", "−")


def energy(joules: float | None) -> str:
    """Give an energy in its own unit: `1.2 mJ`."""
    if joules is None:
        return NOT_MEASURED
    for factor, unit in ((1e6, "µJ"), (1e3, "mJ")):
        if joules * factor < 999.5:
            return f"{_three_digits(joules * factor)} {unit}"
    return f"{_three_digits(joules)} J"


def with_unit(name: str, value: float | str) -> str:
    """Give a figure by the unit that its name ends with.

    Example:
        >>> with_unit("arena_bytes", 55920), with_unit("inferences_per_s", 2904.2), with_unit("cycles", 205475)
        ('55.9 kB', '2,904/s', '205,475')
    """
    if isinstance(value, str):
        return value
    if name.endswith("_per_s"):
        return f"{value:,.0f}/s"
    forms: dict[str, Callable[[float], str]] = {
        "bytes": size,
        "s": seconds,
        "j": energy,
        "share": percent,
    }
    form = forms.get(name.rsplit("_", 1)[-1])
    return f"{value:,}" if form is None else form(value)


def quantity(count: float | None) -> str:
    """Give a count in thousands, millions or billions: `78.7 k`."""
    if count is None:
        return NOT_MEASURED
    for divisor, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= 0.9995 * divisor:
            return f"{_three_digits(count / divisor)} {unit}"
    return f"{count:.0f}"


def runs_on(runtime: str, provider: str) -> str:
    """Name a runtime with the provider or delegate that runs the model: `ort CPU`."""
    return f"{runtime} {provider.removesuffix('ExecutionProvider')}".strip()


def step(done: Step) -> str:
    """Give one step of a lineage in words: hashes shortened, of a long list its length.

    Of the mappings only the layers that stayed float are told, with their reasons; the instruction set is left out,
    which the integer types follow from.
    """
    settings = [
        f"{name.replace('_', ' ')} {_brief(value)}"
        for name, value in done.settings.items()
        if name != "isa" and not isinstance(value, Mapping) and value not in (None, "", [], ())
    ]
    left = done.settings.get("float_layers")
    if isinstance(left, Mapping) and left:
        settings.append("left float " + "; ".join(f"{layer} ({reason})" for layer, reason in left.items()))
    return f"{done.name}: {', '.join(settings)}" if settings else done.name


def _brief(value: object) -> str:
    if isinstance(value, list | tuple):
        return str(len(value)) if len(value) > _LISTED else " and ".join(map(str, value))
    text = str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison, every figure as text."""

    name: str
    runs_on: str
    size: str
    size_ratio: str
    gzip: str
    gzip_ratio: str
    accuracy: str
    accuracy_interval: str
    delta: str
    delta_interval: str
    agreement: str
    sqnr: str
    latency: str
    latency_p90: str
    latency_p99: str
    speedup: str
    speedup_interval: str
    integer_ops: str
    parameters: str
    nonzero: str
    zeros: str
    macs: str
    macs_ratio: str
    activations: str
    activations_ratio: str
    load: str
    first_run: str
    memory: str
    verdict: str


def rows(comparison: Comparison) -> tuple[Row, ...]:
    """Give the baseline's line and then the variants'."""
    return tuple(_row(each, comparison.baseline) for each in (comparison.baseline, *comparison.variants))


def _row(variant: Variant, baseline: Variant) -> Row:
    latency, speedup = variant.latency_s, variant.speedup
    accuracy, delta = variant.accuracy, variant.accuracy_delta

    def ratio(value: int | None, before: int | None) -> str:
        if variant is baseline or value is None or not before:
            return NOT_MEASURED
        return f"{value / before:.2f}×"

    return Row(
        name=variant.name,
        runs_on=runs_on(variant.runtime, variant.provider),
        size=size(variant.file_bytes),
        size_ratio=ratio(variant.file_bytes, baseline.file_bytes),
        gzip=size(variant.gzip_bytes),
        gzip_ratio=ratio(variant.gzip_bytes, baseline.gzip_bytes),
        accuracy=percent(accuracy.value if accuracy else None),
        accuracy_interval=f"{100 * accuracy.low:.2f} to {100 * accuracy.high:.2f}"
        if accuracy
        else NOT_MEASURED,
        delta=points(delta.value if delta else None),
        delta_interval=f"{points(delta.low)} to {points(delta.high)}" if delta else NOT_MEASURED,
        agreement=percent(variant.agreement.value if variant.agreement else None),
        sqnr=NOT_MEASURED if variant.sqnr_db is None else f"{variant.sqnr_db:.1f} dB",
        latency=seconds(latency.p50 if latency else None),
        latency_p90=seconds(latency.p90 if latency else None),
        latency_p99=seconds(latency.p99 if latency else None),
        speedup=f"{speedup.value:.2f}×" if speedup else NOT_MEASURED,
        speedup_interval=f"{speedup.low:.2f} to {speedup.high:.2f}" if speedup else NOT_MEASURED,
        integer_ops=(
            NOT_MEASURED
            if variant.integer_ops is None or variant.total_ops is None
            else f"{variant.integer_ops} of {variant.total_ops}"
        ),
        parameters=quantity(variant.parameters),
        nonzero=quantity(variant.nonzero_parameters),
        zeros=NOT_MEASURED if variant.sparsity is None else f"{100 * variant.sparsity:.1f} %",
        macs=quantity(variant.macs),
        macs_ratio=ratio(variant.macs, baseline.macs),
        activations=size(variant.activation_bytes),
        activations_ratio=ratio(variant.activation_bytes, baseline.activation_bytes),
        load=seconds(variant.load_s),
        first_run=seconds(variant.first_run_s),
        memory=size(variant.peak_rss_bytes),
        verdict="baseline" if variant is baseline else str(variant.verdict or NOT_MEASURED),
    )


def machine(environment: Environment) -> tuple[tuple[str, str], ...]:
    """Give the environment as pairs of a name and a text."""
    return (
        ("CPU", environment.cpu or "not known"),
        ("instruction sets", ", ".join(environment.isa) or "not known"),
        ("cores", str(environment.cores)),
        ("threads", str(environment.threads)),
        ("governor", environment.governor or "not known"),
        *_warmth(environment),
        ("memory", "not known" if environment.memory_bytes is None else size(environment.memory_bytes)),
        ("system", environment.system),
        ("versions", ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
    )


def _warmth(environment: Environment) -> tuple[tuple[str, str], ...]:
    """Give temperature and throttling, where the machine tells them."""
    found = []
    if environment.temperature_c is not None:
        before, after = environment.temperature_c
        found.append(("temperature", f"{before:.0f} °C before, {after:.0f} °C after"))
    if environment.throttled is not None:
        found.append(("throttled", "yes" if environment.throttled else "no"))
    return tuple(found)


def machine_line(environment: Environment) -> str:
    """Give the environment in one line."""
    facts = dict(machine(environment))
    threads = f"{facts['threads']} of {facts['cores']} cores used"
    warmth = "".join(f"; {text}" for name, text in facts.items() if name == "temperature")
    return (
        f"{facts['CPU']}; {threads}; {facts['instruction sets']}; governor {facts['governor']}{warmth}; "
        f"{facts['versions']}"
    )
