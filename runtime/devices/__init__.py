"""The places where a model is run and timed, one file each; a new one is that file and a line here."""

from __future__ import annotations

from slimedge.registry import Registry
from slimedge.runtime.vela.configurations import CONFIGURATIONS

DEVICES = Registry(
    "device",
    {
        "local": "slimedge.runtime.devices.local:Local",
        "ssh": "slimedge.runtime.devices.ssh:Ssh",
        "adb": "slimedge.runtime.devices.adb.device:Adb",
        "arm64": "slimedge.runtime.devices.board.device:Arm64",
        **dict.fromkeys(CONFIGURATIONS, "slimedge.runtime.devices.ethos_u:EthosU"),
    },
)
