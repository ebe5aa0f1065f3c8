"""The device `adb://SERIAL`: an Android phone or board, on which the user's `benchmark_model` runs the file.

It has no Python, so no agent of ours: what is measured is what LiteRT's own tool measures and prints.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.runtime.devices.adb import binary, command_line
from slimedge.runtime.devices.adb.client import Client
from slimedge.runtime.devices.adb.connected import chosen, connected, listed
from slimedge.runtime.devices.adb.hold import Hold, alone_here, held
from slimedge.runtime.devices.adb.judging import dropped, full, judged
from slimedge.runtime.devices.adb.phone import FACTS_SCRIPT, HEAT_SCRIPT, Phone, heat_from, phone_from
from slimedge.runtime.devices.adb.result import AdbMeasurement, Heat
from slimedge.runtime.devices.naming import check_settings
from slimedge.runtime.protocols import Job

RESERVE_LIMIT_S = 120.0
STEP_LIMIT_S = 30.0

# The number of the process lies in the folder while it runs, for whoever removes the folder.
_RUN_SCRIPT = """
cd {folder} || exit 3
pin=
if [ -n '{mask}' ] && taskset {mask} true 2>/dev/null; then pin='taskset {mask}' && echo 'slimedge: pinned' >&2; fi
chmod 700 benchmark_model
sh -c 'echo $$ >running && exec "$@"' sh $pin ./benchmark_model {flags} </dev/null
code=$?
rm -f running
exit $code
"""


class _Deadline:
    """The seconds that are left, or less."""

    def __init__(self, limit_s: float) -> None:
        self._end_s = time.monotonic() + limit_s

    def __call__(self, most_s: float = float("inf")) -> float:
        return max(0.0, min(most_s, self._end_s - time.monotonic()))


@dataclass(frozen=True, slots=True)
class _Reserved:
    """What is known once a device is held."""

    client: Client
    hold: Hold
    phone: Phone
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Adb:
    """The device `adb://SERIAL`.

    Attributes:
        serial: as `adb devices` lists it, None for the only one that is connected.
        benchmark_model: path of LiteRT's tool on this machine, None for what SLIMEDGE_BENCHMARK_MODEL names.
    """

    serial: str | None = None
    benchmark_model: str | None = None
    _reserved: _Reserved | None = field(default=None, compare=False, repr=False)

    label: ClassVar[str] = "measured"
    measurer: ClassVar[str] = "phones"
    formats: ClassVar[tuple[str, ...]] = ("tflite",)
    settings: ClassVar[Mapping[str, str]] = {"benchmark_model": "/path/to/benchmark_model"}

    @staticmethod
    def available(_kind: str) -> Iterator[tuple[str, str | None, str | None, str | None]]:
        """List what adb knows; see `slimedge.runtime.availability`."""
        yield from ((found.name, None, found.device, found.reason) for found in listed())

    @classmethod
    def named(cls, place: str, told: Mapping[str, str]) -> Adb:
        """Give the device of a name.

        Args:
            place: its serial, or nothing for the only device.
            told: settings: `benchmark_model`.

        Raises:
            InputError: no serial looks like this, or there is no such setting.

        Example:
            >>> Adb.named("127.0.0.1:5555", {}).serial
            '127.0.0.1:5555'
        """
        check_settings(told, cls.settings, "adb")
        if place and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:()\[\]-]*", place):
            raise InputError(f"'adb://{place}' names no device; write adb://SERIAL, as adb devices lists it.")
        return cls(None if place in ("", "adb") else place, told.get("benchmark_model"))

    @property
    def machine(self) -> str:
        """Two devices with the same are one machine."""
        return f"adb://{self.serial or ''}"

    @contextmanager
    def reserved(self, *, limit_s: float = RESERVE_LIMIT_S) -> Iterator[Self]:
        """Hold the device, so that no other command measures there, with the tool in a folder there for what follows.

        Args:
            limit_s: within which the device has to be ready.

        Raises:
            InputError: the tool cannot run there.
            UnavailableError: there is no adb, device or tool, or another command holds the device.
            RunError: the device does not answer.
        """
        tool = binary.find(self.benchmark_model)
        left = _Deadline(limit_s)
        client = Client.found()
        serial = chosen(connected(client), self.serial)
        client = replace(client, serial=serial)
        if "shell_v2" not in client.run("features", limit_s=left(STEP_LIMIT_S)).out.split():
            raise UnavailableError(
                f"the device {serial} runs an Android before 7, whose adb tells no exit status."
            )
        with alone_here(serial), held(client, limit_s=left(STEP_LIMIT_S)) as hold:
            phone = phone_from(client.shell(FACTS_SCRIPT, limit_s=left(STEP_LIMIT_S)).out)
            binary.check_abi(tool, phone.abis, serial)
            _push(client, hold, tool, f"{hold.folder}/benchmark_model", limit_s=left())
            yield replace(
                self, serial=serial, _reserved=_Reserved(client, hold, phone, _versions(client, tool))
            )

    def measure(self, job: Job, /) -> AdbMeasurement:
        """Time one file alone, in a process of its own.

        Args:
            job: without a number of threads it gets one. `target.provider` is `cpu`, `gpu` or `nnapi`; of `options`,
                `allow_fallback` accepts a delegate that took part of the graph, and `provider_options` are further
                flags of the tool.

        Raises:
            InputError: the job asks for what the tool or the device cannot do.
            UnavailableError: the device, the tool or the provider is not there, or the provider did not take all.
            RunError: the device dropped off or has no room, time ran out, or the tool failed.
        """
        threads = job.threads or 1
        job = replace(job, threads=threads)
        passed = {name: str(value) for name, value in job.options.get("provider_options", {}).items()}
        flags = command_line.flags(job, graph="model.tflite", limit_s=job.limit_s, passed=passed)
        if self._reserved is None:
            with self.reserved(limit_s=job.limit_s) as device:
                return device.measure(job)
        client, hold, phone = self._reserved.client, self._reserved.hold, self._reserved.phone
        left = _Deadline(job.limit_s)
        if not 1 <= threads <= phone.cores:
            raise InputError(f"threads is {threads}, but the device {self.serial} has 1 to {phone.cores}.")
        late = f"{job.artifact.path.name} was not done on the device {self.serial} within {job.limit_s:g} s."
        model = f"{hold.folder}/model.tflite"
        _push(client, hold, job.artifact.path, model, limit_s=left(), late=late)
        before = _heat(client, left(STEP_LIMIT_S))
        cpus = phone.fastest(threads) if job.target.provider == "cpu" else None
        script = _RUN_SCRIPT.format(
            folder=shlex.quote(hold.folder),
            mask=f"{sum(1 << cpu for cpu in cpus):x}" if cpus else "",
            flags=shlex.join(command_line.as_words(flags)),
        )
        finished = client.shell(script, limit_s=left(), late=late)
        found = judged(finished, job, self.serial or "", lost=finished.code != 0 and hold.lost(finished))
        after = _heat(client, STEP_LIMIT_S)
        warmup, latency = found.phases
        return AdbMeasurement(
            latency=latency,
            warmup=warmup,
            load_s=found.load_s,
            first_run_s=found.first_run_s,
            peak_rss_bytes=found.peak_rss_bytes,
            footprint_bytes=found.footprint_bytes,
            load_footprint_bytes=found.load_footprint_bytes,
            provider=job.target.provider,
            delegates=found.delegates,
            cpus=cpus if "slimedge: pinned" in finished.err else None,
            command=("benchmark_model", *command_line.as_words(flags)),
            environment=phone.environment(threads, self._reserved.versions),
            device=phone.properties,
            heat_before=before,
            heat_after=after,
        )


def _push(
    client: Client, hold: Hold, source: Path, place: str, *, limit_s: float, late: str | None = None
) -> None:
    finished = client.run("push", str(source), place, limit_s=limit_s, late=late)
    if finished.code == 0:
        return
    serial = client.serial or ""
    if "No space left" in finished.out + finished.err:
        raise full(serial, source.name)
    if hold.lost(finished):
        raise dropped(serial)
    raise RunError(f"the device {serial} did not take {source.name}: {finished.last_words}.")


def _heat(client: Client, limit_s: float) -> Heat:
    """Ask how warm the device is; one that does not tell in time costs no measurement."""
    try:
        return heat_from(client.shell(HEAT_SCRIPT, limit_s=limit_s).out)
    except RunError:
        return Heat(None, None, None, None)


def _versions(client: Client, tool: Path) -> dict[str, str]:
    """Give adb's version, and the start of the tool's SHA-256, since it has none of its own."""
    told = re.search(r"^Version (\S+)", client.run("version", limit_s=STEP_LIMIT_S).out, re.MULTILINE)
    digest = hashlib.sha256(tool.read_bytes()).hexdigest()
    return {**({"adb": told[1]} if told else {}), "benchmark_model": f"sha256:{digest[:12]}"}
