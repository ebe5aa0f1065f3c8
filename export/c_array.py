"""A TFLite file as C++ source for a microcontroller: an array, and a header with what firmware has to know of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import slimedge
from slimedge import tflite_file
from slimedge.artifact import Artifact, Format, TensorSpec
from slimedge.errors import CheckError, UnavailableError
from slimedge.files import atomic_path, sha256_of
from slimedge.isolation import run_isolated
from slimedge.micro_operators import operators, require_operators, resolver_methods

# TFLite Micro reads the file in place, and its tensors need this.
ALIGNMENT_BYTES = 16
HEADER_ENDING = ".h"
_PER_LINE = 16
_ARRAY = re.compile(r"alignas\(\d+\) const unsigned char \w+\[\] = \{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the header tells of a file.

    Attributes:
        file: its name, from which the names in the source are made.
        sha256: of its content.
        bytes: of its content.
        inputs: of the model.
        outputs: of the model.
        operators: names to how often they come.
        arena_bytes: that TFLite Micro needs; None where that was not counted.
        no_arena: why it was not; None where it was.
    """

    file: str
    sha256: str
    bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: Mapping[str, int]
    arena_bytes: int | None
    no_arena: str | None = None


def write_c_array(path: Path | str, *, folder: Path | str = ".", name: str | None = None) -> Artifact:
    """Write a `.tflite` file as `NAME.cc` and `NAME.h`.

    The array is read back from the source and compared before either file is there. The header tells inputs and
    outputs, adds the operators to a resolver, and holds the bytes of the arena where TFLite Micro is installed to
    count them.

    Args:
        path: of a `.tflite` file.
        folder: where the files are written; made where it is missing.
        name: of the files, without ending; None for the file's own.

    Returns:
        The source file, with the inputs, outputs and lineage of the model.

    Raises:
        InputError: not a TFLite model, cut off or damaged; operators that TFLite Micro does not have; a folder that
            cannot be written.
        RunError: TFLite Micro refuses the file.
        CheckError: what was written is not the file.
    """
    path = Path(path)
    model = tflite_file.read(path)
    require_operators(path)
    arena_bytes, no_arena = _arena_bytes(path)
    content = path.read_bytes()
    stem = name or path.stem
    facts = Facts(
        file=f"{stem}.tflite",
        sha256=sha256(content).hexdigest(),
        bytes=len(content),
        inputs=model.inputs,
        outputs=model.outputs,
        operators=operators(path),
        arena_bytes=arena_bytes,
        no_arena=no_arena,
    )
    written = Path(folder) / f"{stem}.{Format.C_ARRAY}"
    with atomic_path(written.absolute(), beside=(HEADER_ENDING,)) as temporary:
        temporary.write_text(source(content, stem))
        temporary.with_suffix(HEADER_ENDING).write_text(header(facts))
        if parsed(temporary.read_text()) != content:
            raise CheckError(f"{written.name} does not hold the bytes of {path.name}; it was not kept.")
    return replace(model, path=written, format=Format.C_ARRAY, sha256=sha256_of(written))


def symbol(stem: str) -> str:
    """Give the name of the array of a file, as `xxd -i` would.

    Args:
        stem: of the file's name, without ending.

    Example:
        >>> symbol("resnet8-int8"), symbol("8bit")
        ('resnet8_int8_tflite', 'model_8bit_tflite')
    """
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return f"{'' if name[:1].isalpha() else 'model_'}{name}_tflite"


def source(content: bytes, stem: str) -> str:
    """Give the source file with the array.

    Args:
        content: the TFLite file.
        stem: of the source file's name.
    """
    array = symbol(stem)
    lines = (
        ", ".join(f"0x{byte:02x}" for byte in content[start : start + _PER_LINE])
        for start in range(0, len(content), _PER_LINE)
    )
    return (
        f'#include "{stem}{HEADER_ENDING}"\n\n'
        f"alignas({ALIGNMENT_BYTES}) const unsigned char {array}[] = {{\n    "
        + ",\n    ".join(lines)
        + f",\n}};\nconst unsigned int {array}_len = {len(content)};\n"
    )


def parsed(text: str) -> bytes:
    """Give the bytes of the array in a source file; none where there is no array.

    Example:
        >>> parsed(source(b"model", "tiny"))
        b'model'
    """
    found = _ARRAY.search(text)
    return bytes(int(number, 16) for number in re.findall(r"0x[0-9a-f]{2}", found[1])) if found else b""


def header(facts: Facts) -> str:
    """Give the header: what is in the array, what it needs, and a function that adds its operators to a resolver."""
    array = symbol(facts.file.removesuffix(".tflite"))
    guard = f"{array.upper()}_H_"
    methods = resolver_methods(facts.operators)
    counted = ", ".join(f"{count} {name}" for name, count in facts.operators.items())
    added = " &&\n         ".join(f"resolver.{method}() == 0" for method in methods) or "true"
    return f"""\
// {_told(facts.file)} as an array; written by slimedge {slimedge.__version__}.
// {facts.bytes} bytes, sha256 {facts.sha256}
{_ends("input", facts.inputs)}{_ends("output", facts.outputs)}#ifndef {guard}
#define {guard}

extern const unsigned char {array}[];
extern const unsigned int {array}_len;

{_arena(array, facts)}
// {counted}
constexpr unsigned int {array}_operators = {len(methods)};

// Adds what the model needs to a tflite::MicroMutableOpResolver<{array}_operators>; false where that fails.
template <typename Resolver>
bool {array}_add_operators(Resolver& resolver) {{
  return {added};
}}

#endif  // {guard}
"""


def _ends(side: str, specs: Sequence[TensorSpec]) -> str:
    lines = []
    for index, spec in enumerate(specs):
        sizes = ", ".join("?" if size is None else str(size) for size in spec.shape)
        grid = "" if spec.scale is None else f", scale {spec.scale!r}, zero point {spec.zero_point}"
        lines.append(f"// {side} {index}: {_told(spec.name)}, {spec.dtype} [{sizes}]{grid}\n")
    return "".join(lines)


def _told(name: str) -> str:
    """Give a name of the user's as it may stand in a comment."""
    return ascii(name).replace("?", r"\x3f")  # three of them and a slash would end the line


def _arena(array: str, facts: Facts) -> str:
    if facts.arena_bytes is None:
        return f"// The arena was not counted: {facts.no_arena}.\n"
    return (
        "// Counted with TFLite Micro's reference kernels and 64-bit pointers. With 32 bits it is less; kernels of a\n"
        "// chip's vendor may need more. MicroInterpreter::arena_used_bytes() tells on the chip.\n"
        f"constexpr unsigned int {array}_arena_bytes = {facts.arena_bytes};\n"
    )


def _arena_bytes(path: Path) -> tuple[int | None, str | None]:
    # By name, as export and runtime do not import each other: another process runs it.
    counting = "slimedge.runtime.microcontroller.arena:counted"
    try:
        found: int = run_isolated(
            counting, {"path": str(path)}, label=f"TFLite Micro with {path.name}"
        ).result
    except UnavailableError as error:
        return None, str(error).rstrip(".")
    return found, None
