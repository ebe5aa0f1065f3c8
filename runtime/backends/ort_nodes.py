"""What ONNX Runtime executes: nodes by their arithmetic and their provider, from the profile of a session.

Travels with `ort.py`: standard library only, from Python 3.8 on.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

# Ops that compute on 8-bit integers though a float goes in or comes out: the arithmetic in between is integer.
MIXED_INTEGER_OPS = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger"}
COPIES = {"MemcpyFromHost", "MemcpyToHost"}
# At the border between floats and integers: no arithmetic of the model's own.
BORDER_OPS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
HEAVY_OPS = {
    "Attention",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DynamicQuantizeMatMul",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GRU",
    "Gemm",
    "LSTM",
    "MatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "MultiHeadAttention",
    "NhwcFusedConv",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearConvTranspose",
    "QLinearMatMul",
    "RNN",
}


def count_nodes(events: List[Dict[str, Any]], short_name: Callable[[str], str]) -> Dict[str, Any]:
    """Count what a profile lists; a node of a loop's body counts once, a copy between devices is none of the model's.

    What a provider has made one engine of (TensorRT, OpenVINO, CoreML, QNN) is one node.

    Args:
        events: of the profile.
        short_name: gives our name of a provider.
    """
    nodes = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["name"]] = event["args"]
    nodes = {name: args for name, args in nodes.items() if args["op_name"] not in COPIES}
    heavy: List[Tuple[str, str, bool]] = []
    providers: Dict[str, int] = {}
    integer = 0
    for name, args in nodes.items():
        is_integer = _is_integer(args)
        integer += is_integer
        provider = short_name(args.get("provider", ""))
        providers[provider] = providers.get(provider, 0) + 1
        if args["op_name"] in HEAVY_OPS:
            heavy.append((name[: -len("_kernel_time")], args["op_name"], is_integer))
    return {"integer": integer, "total": len(nodes), "heavy": heavy, "providers": providers}


def _is_integer(args: Dict[str, Any]) -> bool:
    name = args["op_name"]
    if name in BORDER_OPS:
        return False
    if name in MIXED_INTEGER_OPS or name.startswith(("QLinear", "QGemm", "QAttention")):
        return True
    # int64 inputs are shapes and axes, not data.
    data = [next(iter(value)) for value in args.get("input_type_shape", []) if "int64" not in value]
    given = [next(iter(value)) for value in args.get("output_type_shape", [])]
    return bool(data and given) and set(data + given) <= {"int8", "uint8"}
