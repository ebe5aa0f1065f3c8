"""The emulated arm64 board: the real image, booted, beside this machine; and what goes wrong when it is made."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from slimedge.benchmarks import emulated
from slimedge.benchmarks.bundled import NETS
from slimedge.benchmarks.demo import FOLDER
from slimedge.errors import InputError, RunError, UnavailableError
from slimedge.integers import PORTABLE
from slimedge.runtime.devices.board import image as images
from slimedge.runtime.devices.board import packages
from slimedge.runtime.devices.board.booting import booted
from slimedge.runtime.devices.board.building import build
from slimedge.runtime.devices.board.counting import STEP
from slimedge.runtime.devices.board.cpio import write_archive
from slimedge.runtime.devices.board.device import Arm64, over_ssh
from slimedge.runtime.devices.board.image import Image, missing
from slimedge.runtime.devices.board.recipe import RUNTIMES, usual_recipe
from slimedge.runtime.devices.local import Local

MAKE = [sys.executable, "-m", "slimedge.runtime.devices.board"]

# Runs a loop of two machine instructions a turn (subs x0, x0, #1; b.ne), and tells the time that it took.
LOOP = """
import ctypes, mmap, struct, time
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(struct.pack("<3I", 0xF1000400, 0x54FFFFE1, 0xD65F03C0))
loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
loop(1000)
times = {turns: [] for turns in (100_000, 200_000, 500_000, 1_000_000)}
for _ in range(7):
    for turns in times:
        begin = time.perf_counter_ns()
        loop(turns)
        times[turns].append(time.perf_counter_ns() - begin)
for turns in times:
    print(turns, min(times[turns]))  # the one that was interrupted the least
"""


def why_not():
    """Why no board can be had here at all."""
    for program, package in images.PROGRAMS.items():
        if shutil.which(program) is None:
            return f"needs {program}: apt-get install {package}"
    if missing() is not None:  # the image was not made yet
        if shutil.which("apt-get") is None:
            return "needs apt-get, for the image of the board"
        try:
            socket.create_connection(("deb.debian.org", 80), 10).close()
        except OSError:
            return "needs deb.debian.org, for the image of the board"
    return None


def on(board, command, **options):
    return subprocess.run(board.ssh(command), capture_output=True, text=True, check=False, **options)


def qemus():
    return {each.pid for each in psutil.Process().children(recursive=True) if "qemu" in each.name()}


@pytest.fixture(scope="session")
def image():
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    return build()


@pytest.fixture(scope="module")
def board(image):
    with booted(image) as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bundled nets on integers, one of them in ONNX as well and one in floats; `make emulated` takes all."""
    from slimedge.compress.quantization import quantize
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model

    folder, found = tmp_path_factory.mktemp("files"), {}
    for net in NETS:
        model = load_model(FOLDER / f"{net}.keras")
        data = emulated.sample().bind(input_specs(model)).split(calibration=200).calibration
        quantized = quantize(model, data, scheme="static_wi8_ai8")
        formats = ("tflite", "onnx") if net == "depthwise_separable" else ("tflite",)
        for artifact in export_model(quantized, to=formats, folder=folder, name=net, integers=PORTABLE):
            found[f"{net} int8 {artifact.format}"] = artifact
    (found["resnet8 float tflite"],) = export_model(
        FOLDER / "resnet8.keras", to="tflite", folder=folder, name="float"
    )
    return found


@pytest.fixture(scope="module")
def pixels():
    return emulated.images(40)


@pytest.fixture(scope="module")
def here(files, pixels):
    return emulated.run_all(Local(), files, pixels)


@pytest.fixture(scope="module")
def there(board, files, pixels):
    return emulated.run_all(over_ssh(board), files, pixels)


@pytest.fixture(scope="module")
def second_boot(image, files, pixels):
    """Another board, which times the TFLite files and is left by an error."""
    chosen = {name: artifact for name, artifact in files.items() if name.endswith("int8 tflite")}
    found = SimpleNamespace(qemus_before=qemus())
    with suppress(ZeroDivisionError), booted(image) as board:
        found.qemus_meanwhile, found.folder = qemus(), board.identity.parent
        found.files = on(board, "ls /tmp").stdout
        found.ran = emulated.run_all(over_ssh(board), chosen, pixels[:1])
        raise ZeroDivisionError
    found.qemus_after = qemus()
    return found


@pytest.mark.parametrize(
    "name", ["resnet8 int8 tflite", "depthwise_separable int8 tflite", "depthwise_separable int8 onnx"]
)
def test_a_net_on_integers_answers_bit_for_bit_as_here(name, here, there):
    assert len(np.unique(here[name].outputs.argmax(axis=1))) > 5, "the images are of many classes"
    np.testing.assert_array_equal(there[name].outputs, here[name].outputs)


def test_a_net_in_floats_answers_as_here_but_for_the_order_of_sums(here, there):
    exact, found = (ran["resnet8 float tflite"].outputs for ran in (here, there))
    np.testing.assert_allclose(found, exact, atol=emulated.LARGEST_FLOAT_ERROR)
    np.testing.assert_array_equal(found.argmax(axis=1), exact.argmax(axis=1))


def test_the_dot_product_saves_instructions(there):
    median = {name: np.median(ran.samples_ns) for name, ran in there.items()}
    assert median["resnet8 int8 tflite"] < median["resnet8 float tflite"] / 2
    assert median["depthwise_separable int8 tflite"] < median["resnet8 int8 tflite"]


def test_two_boots_count_the_same_instructions_within_half_a_percent(there, second_boot):
    chosen = [name for name in there if name.endswith("int8 tflite")]
    assert len(chosen) == len(NETS)
    for name in chosen:
        first, second = (np.median(ran[name].samples_ns) for ran in (there, second_boot.ran))
        assert second == pytest.approx(first, rel=0.005), name


def test_a_board_is_a_fresh_one_and_ends_with_its_block_even_by_an_error(second_boot):
    assert second_boot.files == ""
    assert second_boot.qemus_meanwhile - second_boot.qemus_before
    assert second_boot.qemus_after == second_boot.qemus_before
    assert not second_boot.folder.exists()


def test_a_nanosecond_of_the_boards_clock_is_an_instruction(board):
    told = [line.split() for line in on(board, "exec python3 -", input=LOOP).stdout.splitlines()]
    turns, taken = np.array(told, int).T
    per_turn = np.diff(taken) / np.diff(turns)
    np.testing.assert_allclose(per_turn, 2, rtol=0.001)
    assert (taken % STEP == 0).all()


def test_the_board_has_the_runtimes_of_this_machine(board):
    code = f"from importlib import metadata; print(*map(metadata.version, {RUNTIMES}))"
    here = [metadata.version(name) for name in RUNTIMES]
    assert on(board, "exec python3 -", input=code).stdout.split() == here


def test_a_command_gives_its_status_and_ends_with_the_connection(board):
    assert on(board, "exit 7").returncode == 7
    with subprocess.Popen(board.ssh("cat; echo ended >/tmp/ended"), stdin=subprocess.PIPE) as process:
        process.stdin.close()
        process.wait(30)
    assert on(board, "cat /tmp/ended; rm /tmp/ended").stdout == "ended\n"


def test_the_board_reaches_no_network(board):
    assert on(board, "wget -T 2 -q -O - http://10.0.2.2:80/").returncode != 0


def test_a_board_ends_with_the_process_that_booted_it_even_a_killed_one(image):
    code = (
        "import time; from slimedge.runtime.devices.board import booting, image\n"
        "with booting.booted(image.usual_image()): print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        (qemu,) = psutil.Process(process.pid).children()
        process.kill()
    assert psutil.wait_procs([qemu], timeout=10)[1] == []


def test_a_board_that_does_not_come_up_in_time_is_told_and_ended(image, tmp_path):
    before = qemus()
    with (
        pytest.raises(RunError, match=r"the emulated board was not up after 0\.5 s"),
        booted(image, limit_s=0.5),
    ):
        pytest.fail("it booted")
    shutil.copy(image.kernel, tmp_path)
    (tmp_path / "initramfs.cpio").write_bytes(b"no archive")
    with (
        pytest.raises(RunError, match=r"the emulated board ended while it booted: .*[Kk]ernel"),
        booted(Image(tmp_path)),
    ):
        pytest.fail("it booted")
    assert qemus() == before


def test_qemu_that_does_not_start_is_told(image, tmp_path):
    with (
        pytest.raises(RunError, match=r"the emulated board did not start: .*vmlinuz"),
        booted(Image(tmp_path)),
    ):
        pytest.fail("it booted")


def test_the_device_has_the_processors_that_are_named():
    assert Arm64.named("arm64", {}) == Arm64("cortex-a76")
    assert Arm64.named("arm64", {"cpu": "cortex-a72"}).cpu == "cortex-a72"
    with pytest.raises(
        InputError, match="'arm64://pi' is not allowed; the emulated board is plainly 'arm64'"
    ):
        Arm64.named("pi", {})
    with pytest.raises(
        InputError, match="cpu=m4 is not allowed; the emulated board has cortex-a76 and cortex-a72"
    ):
        Arm64.named("arm64", {"cpu": "m4"})
    with pytest.raises(InputError, match="'ram' is no setting of the device arm64; it has cpu=cortex-a72"):
        Arm64.named("arm64", {"ram": "1"})


# What follows needs neither QEMU nor a network: the programs that fetch are made up.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/slimedge/board"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that is all of PATH, and what puts a shell script into it."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(packages, "KEYRING", folder)

    def put(name, script="exit 0"):
        (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def left(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


def test_what_is_missing_is_told_with_the_command_that_gets_it(programs, cache):
    assert (
        missing()
        == "qemu-system-aarch64 is not installed; on Debian and Ubuntu, apt-get install qemu-system-arm"
    )
    programs("qemu-system-aarch64")
    assert missing() == "ssh is not installed; on Debian and Ubuntu, apt-get install openssh-client"
    programs("ssh")
    programs("ssh-keygen")
    assert "make arm64" in missing()
    with pytest.raises(UnavailableError, match=r"the emulated board cannot be used: .* not made yet"):
        images.usual_image()
    assert [row[3] for row in Arm64.available("arm64")] == [missing()]
    (cache / usual_recipe().key).mkdir(parents=True)
    assert missing() is None
    assert images.usual_image().folder.parent == cache


def test_an_image_is_kept_under_all_that_is_in_it():
    recipe = usual_recipe()
    assert usual_recipe().key == recipe.key
    others = [
        replace(recipe, wheels={**recipe.wheels, "numpy": "1.0"}),
        replace(recipe, init=recipe.init + "\n"),
        replace(recipe, suite="trixie"),
        replace(recipe, packages=recipe.packages[1:]),
    ]
    assert len({recipe.key, *(other.key for other in others)}) == 5


def test_a_program_that_fails_is_one_sentence_and_leaves_nothing(programs, cache):
    programs("apt-get", "echo 'E: Could not resolve deb.debian.org' >&2; exit 100")
    with pytest.raises(UnavailableError, match=r"apt-get failed .* \(E: Could not resolve deb.debian.org\)"):
        build()
    assert left(cache) == []


def test_making_it_without_apt_is_one_sentence(programs, cache):
    done = subprocess.run(MAKE, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: apt-get is not on this machine")
    assert len(done.stderr.splitlines()) == 1


def test_an_image_whose_making_is_interrupted_leaves_nothing_and_one_that_is_killed_is_cleared_away(
    programs, cache
):
    programs("apt-get", "exec sleep 60")
    for ending, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(MAKE, stderr=subprocess.PIPE, text=True) as process:
            while not (cache.is_dir() and left(cache)):
                time.sleep(0.02)
            process.send_signal(ending)
            told = process.stderr.read()
        assert process.returncode == status, told
        assert "Traceback" not in told
    assert len(left(cache)) == 1
    programs("apt-get", "exit 100")
    with pytest.raises(UnavailableError):
        build()
    assert left(cache) == []


def test_two_that_make_an_image_wait_for_each_other(programs, cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / usual_recipe().key).mkdir()
    told = []
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(
            target=lambda: told.append(build(progress=lambda doing, *_: told.append(doing)))
        )
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(10)
    assert told == ["waiting for another command that makes an image", Image(cache / usual_recipe().key)]


def test_an_archive_is_what_the_kernels_documentation_says(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/run").write_text("#!/bin/sh\n")
    (tmp_path / "bin/run").chmod(0o700)
    (tmp_path / "link").symlink_to("bin/run")
    written = io.BytesIO()
    write_archive(tmp_path, written)
    content, at, found = written.getvalue(), 0, {}
    while at < len(content):
        assert content[at : at + 6] == b"070701"
        fields = [int(content[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, user, modified, size, name_size = (fields[i] for i in (1, 2, 5, 6, 11))
        name = content[at + 110 : at + 110 + name_size]
        start = at + (110 + name_size + 3) // 4 * 4
        found[name.rstrip(b"\0").decode()] = (oct(mode), content[start : start + size])
        assert (user, modified, name[-1:]) == (0, 0, b"\0")
        at = start + (size + 3) // 4 * 4
    assert found == {
        "bin": ("0o40755", b""),
        "bin/run": ("0o100755", b"#!/bin/sh\n"),
        "link": ("0o120777", b"bin/run"),
        "TRAILER!!!": ("0o0", b""),
    }


def test_the_committed_measurement_has_all_its_bars_met():
    found = json.loads((Path(emulated.__file__).resolve().parent / "results/emulated.json").read_text())
    assert found["missed"] == []
    assert len(found["rows"]) == 2 * len(NETS) * 4
    assert all(row["identical"] for row in found["rows"] if row["file"].startswith("int8"))
    assert max(row["spread"] for row in found["rows"]) <= 0.005
