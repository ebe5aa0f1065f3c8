"""Options that several commands share, each described once."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimedge.errors import InputError

if TYPE_CHECKING:
    from slimedge.data import Data

_UNITS_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|µs|ms|s)", re.IGNORECASE)

Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the result as JSON; '-' writes it to stdout instead of text."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Open an .h5 file, which can run code of whoever made it.")
]
Source = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="An .npz file, a folder of IDX files or of images (a class a folder), a .csv, or module:function.",
    ),
]
MaybeSource = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="An .npz file, a folder of IDX files or of images (a class a folder), a .csv, or module:function.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option("--label-column", "--labels", metavar="NAME", help="Column or array that holds the labels."),
]
Scale = Annotated[
    str | None,
    typer.Option("--scale", metavar="FACTOR", help="What the values are multiplied with, as 1/255."),
]
Part = Annotated[
    str | None, typer.Option("--part", metavar="train|test", help="Take one part of data that has both.")
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size", metavar="HxW", help="Size of images, for a model that takes any, as 224x224."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Take at most N examples of a tf.data.Dataset."),
]
NoRangeChecks = Annotated[
    bool,
    typer.Option("--no-range-checks", help="Take data whose values look wrong for the model, as meant so."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the split: the same seed gives the same parts.")]
Evaluation = Annotated[
    str | None,
    typer.Option(
        "--samples",
        "--evaluation",
        metavar="N|SHARE|all",
        help="Examples to compare on; by default the test part, or a fifth where there is none.",
    ),
]
CompressedFile = Annotated[
    Path, typer.Option("-o", "--output", metavar="OUT.keras", help="File for the compressed model.")
]
TuningEpochs = Annotated[
    int,
    typer.Option(
        "--epochs", metavar="N", min=0, help="Passes over the rest of the data to train for; 0: do not train."
    ),
]
TuningRate = Annotated[
    float,
    typer.Option("--learning-rate", metavar="RATE", help="Of that training at its highest."),
]
TuningLoss = Annotated[
    str,
    typer.Option(
        "--loss",
        metavar="LOSS",
        help="What is trained for: distillation (the float model's outputs, needs no labels) or labels.",
    ),
]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads of every runtime.")]
Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="Where to run, as ort:cuda, litert or ssh://pi@board; may be repeated. `slimedge targets` lists them.",
    ),
]
Effort = Annotated[
    str,
    typer.Option(
        "--effort", metavar="EFFORT", help="How long to measure latency: quick, default or thorough."
    ),
]
AllowFallback = Annotated[
    bool,
    typer.Option("--allow-fallback", help="Measure on the CPU where a provider cannot run; the row says so."),
]


def load_data(
    source: str,
    *,
    labels: str | None = None,
    scale: str | None = None,
    part: str | None = None,
    image_size: str | None = None,
    limit: int | None = None,
) -> Data:
    """Open data as the command line describes it."""
    from slimedge.data import Data

    return Data.load(source, labels=labels, scale=scale, part=part, image_size=image_size, limit=limit)


def amount(given: str | None, option: str) -> float | None:
    """Read a count, a share, or `all`.

    Args:
        given: text of the user's, None where the option was not used.
        option: its name, for the message.

    Returns:
        An int for a count, a float in 0…1 for a share; None stays None.

    Raises:
        InputError: it is none of these.
    """
    if given is None:
        return None
    if given == "all":
        return 1.0
    try:
        return int(given) if given.isdigit() else float(given)
    except ValueError:
        raise InputError(
            f"{option} {given} is not allowed; give a count as 2000, a share as 0.2, or all."
        ) from None


def observers(given: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Read the values of `--observer`.

    Args:
        given: names of observers, at most one for all tensors and others as PATTERN=NAME.

    Returns:
        The one for all, and the others by pattern, in order.

    Raises:
        InputError: two for all tensors.

    Example:
        >>> observers(["entropy", "conv_*=percentile:99.9"])
        ('entropy', {'conv_*': 'percentile:99.9'})
    """
    everywhere: list[str] = []
    by_pattern: dict[str, str] = {}
    for text in given:
        pattern, equals, name = text.rpartition("=")
        if equals:
            by_pattern.setdefault(pattern, name)
        else:
            everywhere.append(name)
    if len(everywhere) > 1:
        raise InputError(
            f"--observer {everywhere[0]} and --observer {everywhere[1]} are both for all tensors; give one of them, or "
            f"say which tensors the other is for, as --observer 'conv_*={everywhere[1]}'."
        )
    return (everywhere or ["minmax"])[0], by_pattern


def numbers(given: str, option: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them.

    Raises:
        InputError: one is no whole number from 1 on.

    Example:
        >>> numbers("4, 8", "--bits")
        (4, 8)
    """
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) >= 1 for part in parts):
        raise InputError(
            f"{option} {given} is not allowed; give whole numbers with commas between them, as 4,8."
        )
    return tuple(int(part) for part in parts)


def seconds(given: str, option: str) -> float:
    """Read a time with its unit.

    Raises:
        InputError: it has no unit, or is no time over 0.

    Example:
        >>> seconds("2.5ms", "--latency-bound"), seconds("800 us", "--latency-bound")
        (0.0025, 0.0008)
    """
    match = _TIME.fullmatch(given.strip())
    if match is None or float(match[1]) == 0:
        raise InputError(
            f"{option} {given} is not allowed; give a time over 0 with its unit, as 800us, 5ms or 0.1s."
        )
    return round(float(match[1]) * _UNITS_S[match[2].lower()], 12)


def layer_bits(given: Sequence[str]) -> dict[str, int | str]:
    """Read the values of `--bits`.

    Args:
        given: PATTERN=BITS, each.

    Returns:
        A number of bits, or `float`, by pattern, in order.

    Raises:
        InputError: no pattern, or what stands behind it is neither.

    Example:
        >>> layer_bits(["conv_*=4", "dense=float"])
        {'conv_*': 4, 'dense': 'float'}
    """
    found: dict[str, int | str] = {}
    for text in given:
        pattern, equals, bits = text.rpartition("=")
        if not equals or not pattern or not (bits.isdigit() or bits == "float"):
            raise InputError(
                f"--bits {text} is not allowed; name layers and their bits, as --bits 'conv_*=4' or --bits dense=float."
            )
        found.setdefault(pattern, int(bits) if bits.isdigit() else bits)
    return found


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """Read pairs of layers.

    Args:
        given: OURS=THEIRS, each.
        option: that they were given with, for the message.

    Raises:
        InputError: one names no two layers, or a layer stands before = twice.

    Example:
        >>> pairs(["conv_1=conv_4", "pool=pool"], "--hint")
        {'conv_1': 'conv_4', 'pool': 'pool'}
    """
    found: dict[str, str] = {}
    for text in given:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"{option} {text} is not allowed; name a layer of the student and one of a teacher, as "
                f"{option} conv_1=conv_4."
            )
        if found.setdefault(ours, theirs) != theirs:
            raise InputError(
                f"{option} {ours}={found[ours]} and {option} {text} are for one layer of the student; give one of them."
            )
    return found


def tuning_loss(given: str) -> str | None:
    """Read the value of `--loss`: None for distillation.

    Raises:
        InputError: it is neither that nor `labels`.

    Example:
        >>> tuning_loss("labels"), tuning_loss("distillation")
        ('labels', None)
    """
    if given not in ("distillation", "labels"):
        raise InputError(f"--loss {given} is not allowed; give distillation or labels.")
    return None if given == "distillation" else given


def check_output(path: Path, option: str, *, ending: str | None = None) -> None:
    """Refuse a path that could not be written, before any work is done for it.

    Args:
        path: of the file to be.
        option: that it was given with, for the message.
        ending: that it must have.

    Raises:
        InputError: it is a folder, has another ending, or lies where nothing may be written.
    """
    if ending is not None and path.suffix.lower() != ending:
        raise InputError(f"{option} {path} must end in {ending}; write {path.with_suffix(ending)}.")
    if path.is_dir():
        raise InputError(
            f"{option} {path} is a folder; name a file, as {path / ('result' + (ending or '.json'))}."
        )
    check_folder(path.parent, option)


def check_folder(folder: Path, option: str) -> None:
    """Refuse a folder that neither exists nor could be made, or that may not be written."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{option} lies under {nearest}, which is a file; choose a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{option} lies under {nearest}, where nothing may be written; choose another folder."
        )
