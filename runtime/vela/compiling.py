"""Compile a TFLite file for an Ethos-U NPU, and tell what the compiler estimates."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from slimedge import tflite_file
from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.files import atomic_path, scratch_folder
from slimedge.micro_operators import NPU_OPERATOR, operators
from slimedge.runtime.vela.configurations import check_configuration
from slimedge.runtime.vela.tables import Layer, Summary, read_layers, read_summary

# What these figures are: nothing was run, and Vela knows no more of memory than its configuration says.
LABEL = "estimated"
PACKAGE = "ethos-u-vela"
DEFAULT_TIME_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What Vela says of a file on one configuration; all of it is estimated, for the NPU alone.

    Operators that stay on the CPU are in no figure but `cpu_operators`: Vela does not know what they take there.

    Attributes:
        configuration: of the NPU.
        version: of Vela.
        summary: cycles, speed and memory.
        layers: steps that the operators were made into.
        operators: of the file.
        cpu_operators: names of those that stay on the CPU, to how often they come.
        compiled: the file that Vela made, where it was to be kept; None where not.
        compiled_bytes: of that file.
    """

    configuration: str
    version: str
    summary: Summary
    layers: tuple[Layer, ...]
    operators: int
    cpu_operators: Mapping[str, int]
    compiled: Path | None
    compiled_bytes: int

    @property
    def npu_share(self) -> float:
        """Share of the file's operators that the NPU runs."""
        return 1 - sum(self.cpu_operators.values()) / self.operators

    @property
    def latency_s(self) -> float:
        """Of one inference: cycles over the clock."""
        return self.summary.cycles.total / self.summary.clock_hz


def missing() -> str | None:
    """Give why Vela cannot run here and what to do, or None."""
    if find_spec("ethosu") is None:
        return "Vela is not installed; pip install 'slimedge[ethos-u]'"
    return None


def version() -> str | None:
    """Give Vela's version; None where it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def estimate(
    path: Path | str,
    configuration: str,
    *,
    folder: Path | str | None = None,
    system_config: str | None = None,
    memory_mode: str | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> Estimate:
    """Compile a `.tflite` file and give what Vela estimates.

    Args:
        path: of a quantized file.
        configuration: of the NPU, one of `slimedge.runtime.vela.configurations.CONFIGURATIONS`.
        folder: where the compiled file is kept, as `NAME_CONFIGURATION_vela.tflite`; None where it is not to be.
        system_config: clock and memories, by their name in Vela's `Arm/vela.ini`; None for Vela's default for the
            configuration.
        memory_mode: likewise what lies where.
        time_limit_s: after which Vela is ended.

    Raises:
        UnavailableError: Vela is not installed.
        InputError: no such configuration; not a TFLite model, cut off or damaged; a file of which nothing runs on the
            NPU; a folder that cannot be written.
        RunError: Vela failed, died, or took too long.
    """
    check_configuration(configuration)
    reason = missing()
    if reason is not None:
        raise UnavailableError(f"{reason}.")
    path = Path(path)
    tflite_file.read(path)  # refuses what is damaged, of which Vela says little and ends well
    before = operators(path)
    with scratch_folder() as scratch:
        options = [
            "--accelerator-config",
            configuration,
            "--output-dir",
            str(scratch),
            "--verbose-performance",
        ]
        if system_config is not None:
            options += ["--system-config", system_config]
        if memory_mode is not None:
            options += ["--memory-mode", memory_mode]
        _run_vela(path, options, time_limit_s)
        made = scratch / f"{path.stem}_vela.tflite"
        on_cpu = {name: count for name, count in operators(made).items() if name != NPU_OPERATOR}
        if NPU_OPERATOR not in operators(made):
            raise InputError(_nothing(path, configuration))
        content = made.read_bytes()
        summary = read_summary(_only(scratch, "*_summary_*.csv").read_text())
        layers = read_layers(_only(scratch, "*_per-layer.csv").read_text())
    return Estimate(
        configuration=configuration,
        version=version() or "unknown",
        summary=summary,
        layers=layers,
        operators=sum(before.values()),
        cpu_operators=on_cpu,
        compiled=None if folder is None else _kept(content, Path(folder), path.stem, configuration),
        compiled_bytes=len(content),
    )


def _run_vela(path: Path, options: list[str], time_limit_s: float) -> None:
    command = [sys.executable, "-m", "ethosu.vela", str(path.absolute()), *options]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=time_limit_s,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"Vela was not done compiling {path.name} after {time_limit_s:g} s and was ended; allow more time, or use "
            "a smaller model."
        ) from error
    if done.returncode or not any(Path(options[3]).glob("*_vela.tflite")):
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
        how = "no file"
        if done.returncode:
            died = done.returncode < 0
            how = signal.Signals(-done.returncode).name if died else f"status {done.returncode}"
        raise RunError(
            f"Vela ended with {how} on {path.name}: {lines[-1].rstrip('.')[:300]}; export the model again, or name "
            "another configuration."
        )


def _nothing(path: Path, configuration: str) -> str:
    types = {spec.dtype for spec in (*tflite_file.read(path).inputs, *tflite_file.read(path).outputs)}
    quantized = tflite_file.weights_summary(path, types=("int8",))[0] > 0
    if not quantized and "float32" in types:
        return (
            f"{path.name} runs nothing on the NPU of {configuration}: it is float; quantize it to int8 first (slimedge "
            "quantize) and export that."
        )
    kinds = ", ".join(operators(path))
    return (
        f"{path.name} runs nothing on the NPU of {configuration}, which has none of its operators in these types "
        f"({kinds}); quantize it with the scheme static_wi8_ai8."
    )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise RunError(
            f"Vela wrote {len(found)} files {pattern}, where one was expected; install another version of {PACKAGE}."
        )
    return found[0]


def _kept(content: bytes, folder: Path, stem: str, configuration: str) -> Path:
    path = folder / f"{stem}_{configuration}_vela.tflite"
    with atomic_path(path.absolute()) as temporary:
        temporary.write_bytes(content)
    return path
