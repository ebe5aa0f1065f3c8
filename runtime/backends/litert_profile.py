"""How long each op of a `.tflite` file takes in LiteRT, by its own profiler.

LiteRT's Python has no profiler; the C interface in the library beside it has one (`litert/c/litert_profiler.h`, LiteRT
2.x), which is called here. It runs the same kernels as the interpreter does, XNNPACK's included.

Travels with `litert.py`: standard library, numpy and ai-edge-litert only, from Python 3.8 on.
"""

from __future__ import annotations

import ctypes
import glob
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

# The runtime's options are TOML behind an identifier (litert/c/options/litert_runtime_options.cc, _cpu_options.cc).
OPTIONS = (("runtime_options_string", "enable_profiling = true\n"), ("xnnpack", "num_threads = {threads}\n"))
CPU = 1  # kLiteRtHwAcceleratorCpu
WRITE = 1  # kLiteRtTensorBufferLockModeWrite
MOST_DIMENSIONS = 8  # LITERT_TENSOR_MAX_RANK
# Of LiteRtProfilerEventType; the last are ops inside of a delegate.
DEFAULT, OPERATOR, DELEGATE_OPERATOR = 1 << 0, 1 << 1, 1 << 3
RESOLUTION_NS = 1000
EVENTS_AT_ONCE = 4000  # the profiler's buffer has room for 10,240 in the oldest version that has one
FILLED = 0xA5


class Event(ctypes.Structure):
    """`ProfiledEventData` of litert/c/litert_profiler_event.h."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("node", ctypes.c_uint64),
        ("graph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class Layout(ctypes.Structure):
    """`LiteRtLayout` of litert/c/litert_layout.h; the rank without strides."""

    _fields_ = (
        ("rank", ctypes.c_uint32),
        ("sizes", ctypes.c_int32 * MOST_DIMENSIONS),
        ("strides", ctypes.c_uint32 * MOST_DIMENSIONS),
    )


class TensorType(ctypes.Structure):
    """`LiteRtRankedTensorType` of litert/c/litert_model_types.h."""

    _fields_ = (("element", ctypes.c_int), ("layout", Layout))


Told = Tuple[str, int, int, int, int, int]  # tag, kind, start_us, elapsed_us, node, graph


class ProfiledModel:
    """A model that is opened for profiling, until the process ends.

    Args:
        content: of the file.
        signature: that is run; None for the first, which LiteRT makes up where the file has none.
        feeds: inputs by name, in the file's types.
        threads: of the CPU kernels.

    Raises:
        ImportError: this LiteRT has no such profiler, or it does not take the model; one sentence.
    """

    def __init__(self, content: bytes, signature: Optional[str], feeds: Dict[str, Any], threads: int) -> None:
        self._library = _library()
        # LiteRT refers to all of these for as long as it runs.
        self._kept: List[Any] = [np.frombuffer(content, np.uint8)]
        environment = self._make("LiteRtCreateEnvironment", 0, None)
        model = self._make(
            "LiteRtCreateModelFromBuffer",
            environment,
            ctypes.c_void_p(self._kept[0].ctypes.data),
            ctypes.c_size_t(len(content)),
        )
        self._compiled = self._make("LiteRtCreateCompiledModel", environment, model, self._options(threads))
        self._profiler = self._make("LiteRtCompiledModelGetProfiler", self._compiled)
        number, opened = self._signature(model, signature)
        self._signature_number = ctypes.c_size_t(number)
        inputs = self._buffers(environment, opened, "Input", feeds)
        outputs = self._buffers(environment, opened, "Output", {})
        self._arguments = (
            self._compiled,
            self._signature_number,
            ctypes.c_size_t(len(inputs)),
            inputs,
            ctypes.c_size_t(len(outputs)),
            outputs,
        )

    def run(self) -> None:
        """Run once."""
        self._call("LiteRtRunCompiledModel", *self._arguments)

    def profiled(self, runs: int) -> List[List[Told]]:
        """Run so often, and give the events of each run."""
        found: List[List[Told]] = []
        at_once = 1
        while len(found) < runs:
            before = len(found)
            self._call("LiteRtStartProfiler", self._profiler)  # empties its buffer
            for _ in range(min(at_once, runs - len(found))):
                self.run()
            self._call("LiteRtStopProfiler", self._profiler)
            events = self._events()
            found += by_run(events)
            if len(found) == before:
                raise ImportError(
                    "LiteRT's profiler tells of no run of the graph; install ai-edge-litert 2.3."
                )
            at_once = max(1, EVENTS_AT_ONCE * at_once // len(events))
        return found

    def _events(self) -> List[Told]:
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        if not count.value:
            raise ImportError("LiteRT's profiler tells nothing of a run; install ai-edge-litert 2.3.")
        size = ctypes.sizeof(Event)
        # Twice as much as it should take: an event of another version may be larger.
        raw = np.full(2 * size * count.value, FILLED, np.uint8)
        self._call("LiteRtGetProfilerEvents", self._profiler, count, ctypes.c_void_p(raw.ctypes.data))
        written = int(np.flatnonzero(raw != FILLED)[-1]) + 1
        if not size * count.value - 8 < written <= size * count.value:
            raise ImportError(
                "this version of LiteRT describes its profile in another way than 2.3 does; install ai-edge-litert 2.3."
            )
        return [
            (e.tag.decode(errors="replace"), e.kind, e.start_us, e.elapsed_us, e.node, e.graph)
            for e in (Event * count.value).from_buffer(raw.data)
        ]

    def _options(self, threads: int) -> ctypes.c_void_p:
        options = self._make("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _payload: None)
        self._kept.append(keep)
        for identifier, text in OPTIONS:
            payload = ctypes.create_string_buffer(text.format(threads=threads).encode())
            self._kept.append(payload)
            made = self._make("LiteRtCreateOpaqueOptions", identifier.encode(), payload, keep)
            self._call("LiteRtAddOpaqueOptions", options, made)
        return options

    def _signature(self, model: ctypes.c_void_p, wanted: Optional[str]) -> Tuple[int, ctypes.c_void_p]:
        for number in range(self._count("LiteRtGetNumModelSignatures", model)):
            opened = self._make("LiteRtGetModelSignature", model, ctypes.c_size_t(number))
            key = self._text("LiteRtGetSignatureKey", opened)
            if wanted is None or key == wanted:
                return number, opened
        raise ImportError("LiteRT's profiler does not know the signature '{}' of the file.".format(wanted))

    def _buffers(
        self, environment: ctypes.c_void_p, signature: ctypes.c_void_p, side: str, feeds: Dict[str, Any]
    ) -> Any:
        """Make buffers for the inputs, with their numbers, or for the outputs."""
        count = self._count("LiteRtGetNumSignature{}s".format(side), signature)
        places = [ctypes.c_size_t(place) for place in range(count)]
        names = [self._text("LiteRtGetSignature{}Name".format(side), signature, place) for place in places]
        if side == "Input":
            layouts = self._resized(places, [feeds[name] for name in names])
        else:
            made_layouts = (Layout * count)()
            self._call(
                "LiteRtGetCompiledModelOutputTensorLayouts",
                self._compiled,
                self._signature_number,
                ctypes.c_size_t(count),
                made_layouts,
                ctypes.c_bool(True),
            )
            layouts = list(made_layouts)
        buffers = (ctypes.c_void_p * count)()
        for place, name, layout in zip(places, names, layouts):
            tensor = self._make("LiteRtGetSignature{}TensorByIndex".format(side), signature, place)
            kind = TensorType()
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            kind.layout = layout
            needs = self._make(
                "LiteRtGetCompiledModel{}BufferRequirements".format(side),
                self._compiled,
                self._signature_number,
                place,
            )
            made = self._make(
                "LiteRtCreateManagedTensorBufferFromRequirements", environment, ctypes.byref(kind), needs
            )
            buffers[place.value] = made.value
            if name in feeds:
                self._fill(made, np.ascontiguousarray(feeds[name]))
        return buffers

    def _resized(self, places: List[ctypes.c_size_t], arrays: List[Any]) -> List[Layout]:
        layouts = []
        for place, array in zip(places, arrays):
            layout = Layout()
            self._call(
                "LiteRtGetCompiledModelInputTensorLayout",
                self._compiled,
                self._signature_number,
                place,
                ctypes.byref(layout),
            )
            if list(layout.sizes[: layout.rank]) != list(array.shape):
                sizes = (ctypes.c_int * array.ndim)(*array.shape)
                self._call(
                    "LiteRtCompiledModelResizeInputTensorNonStrict",
                    self._compiled,
                    self._signature_number,
                    place,
                    sizes,
                    ctypes.c_size_t(array.ndim),
                )
                layout = Layout(array.ndim, tuple(array.shape), (0,) * MOST_DIMENSIONS)
            layouts.append(layout)
        return layouts

    def _fill(self, buffer: ctypes.c_void_p, array: Any) -> None:
        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        if size.value != array.nbytes:
            raise ImportError(
                "LiteRT's profiler takes {} bytes where the input has {}.".format(size.value, array.nbytes)
            )
        address = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), WRITE)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function whose last argument is where it puts what it made."""
        made = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(made))
        return made

    def _count(self, name: str, of: ctypes.c_void_p) -> int:
        count = ctypes.c_size_t()
        self._call(name, of, ctypes.byref(count))
        return count.value

    def _text(self, name: str, *of: Any) -> str:
        text = ctypes.c_char_p()
        self._call(name, *of, ctypes.byref(text))
        return (text.value or b"").decode(errors="replace")

    def _call(self, name: str, *arguments: Any) -> None:
        function: Optional[Callable[..., int]] = getattr(self._library, name, None)
        if function is None:
            raise ImportError(
                "this version of LiteRT lacks {}, by which its ops are timed; install ai-edge-litert 2.3.".format(
                    name
                )
            )
        status = function(*arguments)
        if status:
            raise ImportError(
                "LiteRT's profiler does not take the file: {} ended with status {}.".format(name, status)
            )


def by_run(events: List[Told]) -> List[List[Told]]:
    """Part events into runs, each from the event `Invoke` of the whole graph on.

    An op that runs other graphs (WHILE, IF) takes the time of the ops in those: around each of them the profiler itself
    takes longer than many a graph.
    """
    runs: List[List[Told]] = []
    main = None
    for event, following in zip(events, [*events[1:], None]):
        tag, kind, start, elapsed, node, graph = event
        if tag == "Invoke" and kind == DEFAULT and main in (None, graph):
            main = graph
            runs.append([event])
        elif not runs or kind not in (OPERATOR, DELEGATE_OPERATOR):
            continue
        else:
            runs_others = kind == OPERATOR and following is not None and following[5] != graph
            own = 0 if runs_others else elapsed
            if graph == main:
                runs[-1].append((tag, kind, start, own, node, graph))
            elif own:
                tag, kind, start, elapsed, node, graph = runs[-1][-1]
                runs[-1][-1] = (tag, kind, start, elapsed + own, node, graph)
    return runs


def told(runs: List[List[Told]]) -> Dict[str, Any]:
    """Give profiled runs as the agent answers them.

    Times of a delegate's ops have no start; they are laid end to end, as they run.
    """
    first = min(run[0][2] for run in runs)
    shape = [(tag, kind, node) for tag, kind, _, _, node, _ in runs[0][1:]]
    ops = [
        {
            "name": tag,
            "kind": tag,
            "provider": "cpu" if kind == OPERATOR else "xnnpack",
            "node": node if kind == OPERATOR else None,
        }
        for tag, kind, node in shape
    ]
    answer = []
    for run in runs:
        if [(tag, kind, node) for tag, kind, _, _, node, _ in run[1:]] != shape:
            raise ImportError(
                "LiteRT ran other ops in one run than in another; their times cannot be compared."
            )
        at = run[0][2] - first
        events = []
        for number, (_, kind, start, elapsed, _, _) in enumerate(run[1:]):
            at = start - first if kind == OPERATOR else at
            events.append([number, at * RESOLUTION_NS, elapsed * RESOLUTION_NS])
            at += elapsed
        _, _, start, elapsed, _, _ = run[0]
        answer.append(
            {
                "start_ns": (start - first) * RESOLUTION_NS,
                "duration_ns": elapsed * RESOLUTION_NS,
                "events": events,
            }
        )
    return {"resolution_ns": RESOLUTION_NS, "ops": ops, "runs": answer}


def profile(
    content: bytes,
    signature: Optional[str],
    feeds: Dict[str, Any],
    *,
    threads: int,
    warm_runs: int,
    runs: int,
) -> Dict[str, Any]:
    """Time the ops of a file; see `slimedge.runtime.protocols.Profiling`.

    Raises:
        ImportError: this LiteRT cannot, and why; one sentence.
    """
    model = ProfiledModel(content, signature, feeds, threads)
    for _ in range(warm_runs):
        model.run()
    return told(model.profiled(runs))


def _library() -> ctypes.CDLL:
    import ai_edge_litert

    folder = os.path.dirname(os.path.abspath(ai_edge_litert.__file__))
    found = [
        path
        for path in glob.glob(os.path.join(folder, "libLiteRt.*"))
        if path.endswith((".so", ".dylib", ".dll"))
    ]
    if not found:
        raise ImportError(
            "this LiteRT comes without libLiteRt, by which its ops are timed; install ai-edge-litert 2.3."
        )
    return ctypes.CDLL(found[0])
