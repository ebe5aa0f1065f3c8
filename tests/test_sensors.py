"""Sensors of machines that are folders: `sys` as Linux has it on boards, PCs and servers."""

from __future__ import annotations

import pytest

from slimedge.runtime import sensors


@pytest.fixture
def machine(tmp_path):
    """Write files below `sys`; give the root."""

    def written(files):
        for name, text in files.items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return written


# Temperature


def test_the_hottest_sensor_of_the_processor_counts(machine):
    root = machine(
        {
            "class/thermal/thermal_zone0/type": "cpu-thermal",
            "class/thermal/thermal_zone0/temp": "48312",
            "class/thermal/thermal_zone1/type": "battery",
            "class/thermal/thermal_zone1/temp": "99000",
            "class/hwmon/hwmon0/name": "coretemp",
            "class/hwmon/hwmon0/temp1_input": "51000",
            "class/hwmon/hwmon0/temp2_input": "50000",
        }
    )
    assert sensors.temperature_c(root) == 51.0


def test_a_machine_without_sensors_has_no_temperature(machine):
    assert sensors.temperature_c(machine({"class/thermal/thermal_zone0/type": "wifi"})) is None


def test_a_sensor_that_cannot_be_read_is_no_zero(machine):
    root = machine(
        {"class/thermal/thermal_zone0/type": "cpu-thermal", "class/thermal/thermal_zone0/temp": "broken"}
    )
    assert sensors.temperature_c(root) is None


# Throttling


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpuinfo_max_freq": 1_800_000, "scaling_max_freq": 1_800_000}, False),
        ({"cpuinfo_max_freq": 1_800_000, "scaling_max_freq": 1_200_000}, True),
        ({"cpuinfo_max_freq": 1_800_000, "scaling_max_freq": 1_800_000, "bios_limit": 800_000}, True),
        ({"cpuinfo_max_freq": 1_800_000}, None),
    ],
)
def test_a_processor_that_may_not_reach_its_own_frequency_is_throttled(machine, files, expected):
    root = machine({f"devices/system/cpu/cpu3/cpufreq/{name}": value for name, value in files.items()})
    assert sensors.throttled(root) is expected


@pytest.mark.parametrize(("told", "expected"), [("0", False), ("50000", False), ("50005", True), ("?", None)])
def test_a_raspberry_pis_firmware_tells_of_now_and_not_of_before(machine, told, expected):
    name = "devices/platform/soc/soc:firmware/get_throttled"
    assert sensors.throttled(machine({name: told})) is expected


# Energy


def test_packages_are_read_and_what_they_hold_is_not_counted_twice(machine):
    root = machine(
        {
            "class/powercap/intel-rapl:0/name": "package-0",
            "class/powercap/intel-rapl:0/energy_uj": 1_000_000,
            "class/powercap/intel-rapl:0/max_energy_range_uj": 5_000_000,
            "class/powercap/intel-rapl:0:0/name": "core",
            "class/powercap/intel-rapl:0:0/energy_uj": 700_000,
            "class/powercap/intel-rapl:1/name": "psys",
            "class/powercap/intel-rapl:1/energy_uj": 9_000_000,
        }
    )
    before = sensors.energy(root, gpus=False)
    assert sorted(before.values()) == [(1_000_000, 5_000_000)]
    machine({"class/powercap/intel-rapl:0/energy_uj": 3_500_000})
    assert sensors.energy_between(before, sensors.energy(root, gpus=False)) == 2.5


def test_a_counter_that_starts_again_goes_on(machine):
    files = {
        "class/powercap/intel-rapl:0/name": "package-0",
        "class/powercap/intel-rapl:0/energy_uj": 4_500_000,
        "class/powercap/intel-rapl:0/max_energy_range_uj": 5_000_000,
    }
    root = machine(files)
    before = sensors.energy(root, gpus=False)
    machine({"class/powercap/intel-rapl:0/energy_uj": 250_000})
    assert sensors.energy_between(before, sensors.energy(root, gpus=False)) == 0.75


def test_sockets_are_read_where_there_is_no_powercap(machine):
    root = machine(
        {
            "class/hwmon/hwmon1/name": "amd_energy",
            "class/hwmon/hwmon1/energy1_input": 10,
            "class/hwmon/hwmon1/energy1_label": "Ecore000",
            "class/hwmon/hwmon1/energy2_input": 2_000_000,
            "class/hwmon/hwmon1/energy2_label": "Esocket0",
        }
    )
    assert sorted(sensors.energy(root, gpus=False).values()) == [(2_000_000, None)]


def test_without_counters_energy_is_not_measured(machine):
    nothing = sensors.energy(machine({}), gpus=False)
    assert sensors.energy_between(nothing, nothing) is None
