"""What adb and a device tell of themselves, and what of the user's `benchmark_model` is seen before it is sent."""

from __future__ import annotations

import struct

import pytest

from slimedge.errors import InputError, UnavailableError
from slimedge.runtime.devices.adb import binary, client
from slimedge.runtime.devices.adb.connected import Connected, chosen, devices_in, listed
from slimedge.runtime.devices.adb.device import Adb
from slimedge.runtime.devices.adb.phone import Cpu, heat_from, phone_from
from slimedge.runtime.devices.adb.result import Heat

LISTED = """\
* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
ebe3968d               device product:OP5B16L1 model:CPH2641 device:OP5B16L1 transport_id:1
192.168.0.7:5555       offline product:shiba model:Pixel_8 device:shiba transport_id:4
R58N12ABCDE            unauthorized usb:1-2 transport_id:2
0123456789ABCDEF       no permissions (missing udev rules? user is in the plugdev group); see \
[http://developer.android.com/tools/device.html] usb:3-1 transport_id:3
emulator-5554          device

"""


def test_devices_are_read_with_their_states():
    found = devices_in(LISTED)
    assert [(one.serial, one.model) for one in found] == [
        ("ebe3968d", "CPH2641"),
        ("192.168.0.7:5555", "Pixel 8"),
        ("R58N12ABCDE", None),
        ("0123456789ABCDEF", None),
        ("emulator-5554", None),
    ]
    assert [one.reason is None for one in found] == [True, False, False, False, True]
    assert "adb reconnect offline" in found[1].reason
    assert "accept the prompt" in found[2].reason
    assert found[3].reason.startswith(
        "the device 0123456789ABCDEF is no permissions; install Android's udev rules"
    )


def test_the_only_usable_device_needs_no_name():
    assert chosen(devices_in(LISTED)[:4], None) == "ebe3968d"
    with pytest.raises(InputError, match="adb sees 2 devices"):
        chosen(devices_in(LISTED), None)
    with pytest.raises(UnavailableError, match="accept the prompt"):
        chosen((Connected("a", "unauthorized", None),), None)
    with pytest.raises(UnavailableError, match="adb reconnect offline"):
        chosen(devices_in(LISTED), "192.168.0.7:5555")


@pytest.mark.parametrize(
    "serial", ["127.0.0.1:5555", "ebe3968d", "emulator-5554", "adb-R58N12ABCDE-xyz._adb-tls-connect._tcp"]
)
def test_serials_of_all_kinds_are_names(serial):
    assert Adb.named(serial, {"benchmark_model": "/a/b"}) == Adb(serial, "/a/b")
    assert Adb(serial).machine == f"adb://{serial}"


def test_odd_names_and_settings_are_refused():
    with pytest.raises(InputError, match="names no device; write adb://SERIAL"):
        Adb.named("two words", {})
    with pytest.raises(InputError, match="'port' is no setting of the device adb"):
        Adb.named("", {"port": "1"})
    assert Adb.named("", {}).serial is None


def test_without_adb_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda _name: None)
    (row,) = listed()
    assert (row.name, row.device) == ("adb://SERIAL/litert", None)
    assert "pip install 'slimedge[adb]'" in row.reason


def test_adb_on_the_path_comes_before_the_one_of_the_extra(monkeypatch, tmp_path):
    own = tmp_path / "adb"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert client.executable() == str(own)


PIXEL = """\
@@props
[ro.board.platform]: [zuma]
[ro.build.version.release]: [15]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.cpu.abilist]: [arm64-v8a]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 8]
[ro.soc.model]: []
@@cpuinfo
processor\t: 0
Features\t: fp asimd aes asimdhp asimddp sve sve2 i8mm bf16
processor\t: 1
@@meminfo
MemTotal:        7614964 kB
@@status
Cpus_allowed_list:\t0-1,3
@@machine
aarch64
@@cpus
0 - 1704000 sched_pixel
1 - 2367000 sched_pixel
2 - 2367000 sched_pixel
3 - 2914000 powersave
"""


def test_a_device_is_read_from_what_it_tells():
    phone = phone_from(PIXEL)
    assert phone.cpu == "zuma"  # where the chip has no name
    assert phone.isa == ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
    assert phone.cpus == (
        Cpu(0, None, 1704000, "sched_pixel"),
        Cpu(1, None, 2367000, "sched_pixel"),
        Cpu(3, None, 2914000, "powersave"),
    )
    assert (phone.cores, phone.fastest(1), phone.fastest(2), phone.fastest(4)) == (3, (3,), (1, 3), None)
    environment = phone.environment(2, {"adb": "36"})
    assert environment.governor == "powersave, sched_pixel"
    assert environment.memory_bytes == 7614964 * 1024
    assert environment.versions == {"android": "15", "adb": "36"}


def test_a_device_that_tells_nothing_is_known_by_nothing():
    phone = phone_from("@@props\n@@cpuinfo\n@@cpus\n* - - -\n")
    environment = phone.environment(1, {})
    assert (phone.cpu, phone.isa, phone.abis, phone.cpus, phone.memory_bytes) == (None, (), (), (), None)
    assert (environment.governor, environment.system, phone.fastest(1)) == (None, "Android", None)
    assert heat_from("@@thermal\n@@zones\n- -\n@@limits\n- -\n") == Heat(None, None, None, None)


@pytest.mark.parametrize(
    ("text", "heat"),
    [
        (
            "@@thermal\nThermal Status: 2\n\tTemperature{mValue=31.5, mType=3, mName=skin, mStatus=0}\n",
            Heat(31.5, "SKIN", 2, throttled=True),
        ),
        (
            "@@zones\n48123 cpu-0-0-usr\n51500 cpu-1-0-usr\n99000 modem\n-273000 soc\n@@limits\n1800000 1800000\n",
            Heat(51.5, "cpu-1-0-usr", None, throttled=False),
        ),
        ("@@zones\n47 soc_thermal\n", Heat(47.0, "soc_thermal", None, None)),
        (
            "@@battery\n  level: 80\n  temperature: 312\n@@limits\n2000000 2400000\n",
            Heat(31.2, "BATTERY", None, throttled=True),
        ),
    ],
)
def test_heat_is_read_from_the_best_that_is_told(text, heat):
    assert heat_from(text) == heat


def elf(machine, loader=None):
    """The head of an executable of 64 bits, which names its loader."""
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    name = (loader or "").encode() + b"\0"
    return head + struct.pack("<IIQQQQQQ", 3 if loader else 1, 4, 120, 0, 0, len(name), len(name), 1) + name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "is an Android package; give the command-line binary"),
        (
            elf(183, "/lib/ld-linux-aarch64.so.1"),
            r"built for Linux \(it asks for /lib/ld-linux-aarch64.so.1\), not for Android",
        ),
    ],
)
def test_a_file_that_is_no_tool_for_android_is_refused(tmp_path, content, message):
    path = tmp_path / "benchmark_model"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        binary.find(str(path))


def test_a_real_program_of_this_machine_is_refused():
    with pytest.raises(InputError, match=r"built for Linux \(it asks for /lib\S*/ld-\S+\)"):
        binary.find("/bin/sh")


def test_a_tool_for_android_is_taken_where_its_abi_is_that_of_the_device(tmp_path):
    path = tmp_path / "benchmark_model"
    path.write_bytes(elf(183, "/system/bin/linker64"))
    assert binary.find(str(path)) == path
    binary.check_abi(path, ("arm64-v8a", "armeabi-v7a"), "phone")
    binary.check_abi(path, (), "phone")  # not known: the device will tell
    with pytest.raises(InputError, match="was built for arm64-v8a, but the device phone runs x86_64"):
        binary.check_abi(path, ("x86_64",), "phone")


@pytest.mark.parametrize("length", [4, 20, 58, 100, 119])
def test_a_cut_executable_is_left_to_the_device(tmp_path, length):
    path = tmp_path / "benchmark_model"
    path.write_bytes(elf(183, "/lib/ld-linux-aarch64.so.1")[:length])
    assert binary.find(str(path)) == path


def test_where_the_tool_is_comes_from_the_setting_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(binary.VARIABLE, raising=False)
    with pytest.raises(
        UnavailableError,
        match=r"nightly builds .*\?benchmark_model=/path/to/it, or the variable SLIMEDGE_BENCHMARK_MODEL",
    ):
        binary.find(None)
    path = tmp_path / "benchmark_model"
    path.write_text("#!/bin/sh\n")
    monkeypatch.setenv(binary.VARIABLE, str(path))
    assert binary.find(None) == path
    with pytest.raises(InputError, match="is no file"):
        binary.find(str(tmp_path / "nowhere"))
