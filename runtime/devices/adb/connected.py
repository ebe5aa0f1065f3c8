"""The devices that adb knows, and why one of them cannot be used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slimedge.errors import InputError, SlimedgeError, UnavailableError
from slimedge.runtime.devices.adb.client import Client

LIMIT_S = 20.0  # the first command also starts adb's server
_NONE = (
    "adb sees no device; connect one by USB with 'USB debugging' on (Settings, Developer options), or one of the "
    "network by adb connect HOST:PORT."
)
_LINE = re.compile(
    r"(?P<serial>\S+)\s+(?P<state>no permissions.*?|[a-z]+)(?P<facts>(?:\s+(?:usb:\S+|\w+:\S*))*)\s*"
)


@dataclass(frozen=True, slots=True)
class Connected:
    """A device that adb lists.

    Attributes:
        serial: that it is named by.
        state: in adb's words: `device`, `unauthorized`, `offline`, …
        model: None where it is not told.
    """

    serial: str
    state: str
    model: str | None

    @property
    def reason(self) -> str | None:
        """Why it cannot be used and what to do, None where it can."""
        if self.state == "device":
            return None
        fixes = {
            "unauthorized": "accept the prompt 'Allow USB debugging?' on the phone",
            "authorizing": "accept the prompt 'Allow USB debugging?' on the phone",
            "offline": "unplug it and plug it in again, or run adb reconnect offline",
            "connecting": "wait until it is connected",
            "recovery": "boot it into Android",
            "sideload": "boot it into Android",
            "bootloader": "boot it into Android",
        }
        fix = fixes.get(self.state, "see https://developer.android.com/tools/adb#Enabling")
        if self.state.startswith("no permissions"):
            fix = "install Android's udev rules (apt install android-sdk-platform-tools-common) and plug it in again"
        return f"the device {self.serial} is {self.state.partition(' (')[0]}; {fix}."


@dataclass(frozen=True, slots=True)
class Listed:
    """A row of `slimedge targets`.

    Attributes:
        name: of the target.
        device: model, None where it is not told.
        reason: why it cannot be used and what to do, None where it can.
    """

    name: str
    device: str | None
    reason: str | None


def listed() -> tuple[Listed, ...]:
    """List every connected device; where there is none, one row tells why."""
    try:
        devices = connected(Client.found())
    except SlimedgeError as error:
        return (Listed("adb://SERIAL/litert", None, str(error)),)
    if not devices:
        return (Listed("adb://SERIAL/litert", None, _NONE),)
    return tuple(Listed(f"adb://{one.serial}/litert", one.model, one.reason) for one in devices)


def connected(client: Client) -> tuple[Connected, ...]:
    """Ask adb for its devices. A server that had to be started and sees none is ended again.

    Raises:
        UnavailableError: the server cannot be started.
        RunError: adb did not answer in time.
    """
    finished = client.run("devices", "-l", limit_s=LIMIT_S)
    if finished.code != 0:
        raise UnavailableError(f"adb cannot list its devices: {finished.last_words}; try adb kill-server.")
    devices = devices_in(finished.out)
    if not devices and "daemon started" in finished.out + finished.err:
        client.run("kill-server", limit_s=LIMIT_S)
    return devices


def devices_in(text: str) -> tuple[Connected, ...]:
    r"""Read what `adb devices -l` prints.

    Example:
        >>> devices_in("List of devices attached\nebe39 device usb:1-2 product:OP5 model:CPH2641 transport_id:1")
        (Connected(serial='ebe39', state='device', model='CPH2641'),)
    """
    found = []
    for line in text.partition("List of devices attached")[2].splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            model = re.search(r"\bmodel:(\S+)", match["facts"])
            found.append(
                Connected(match["serial"], match["state"], model[1].replace("_", " ") if model else None)
            )
    return tuple(found)


def chosen(devices: tuple[Connected, ...], serial: str | None) -> str:
    """Give the serial of the device that was named, or of the only one.

    Raises:
        InputError: none was named, and there are several.
        UnavailableError: it is not there, or cannot be used.
    """
    serials = ", ".join(one.serial for one in devices)
    if serial is None:
        usable = [one for one in devices if one.reason is None]
        if len(usable) == 1:
            return usable[0].serial
        if len(usable) > 1:
            raise InputError(f"adb sees {len(usable)} devices and none was named; name one of {serials}.")
        raise UnavailableError((devices[0].reason if devices else None) or _NONE)
    one = next((one for one in devices if one.serial == serial), None)
    if one is None and not devices:
        raise UnavailableError(f"the device {serial} is not connected: {_NONE}")
    if one is None:
        raise UnavailableError(f"the device {serial} is not connected; adb sees {serials}.")
    if one.reason is not None:
        raise UnavailableError(one.reason)
    return serial
