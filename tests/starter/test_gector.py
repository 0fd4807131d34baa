"""Weights out of a quantised ONNX graph, against the ONNX reference evaluator."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tools.starter_weights.gector import dequantize, float_tensors


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("with_zero", [True, False])
def test_dequantize_as_onnx_defines_it(kind, axis, with_zero):
    rng = np.random.default_rng(0)
    limits = np.iinfo(kind)
    shape = (5, 7)
    quantized = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    size = () if axis is None else (shape[axis],)
    scale = rng.uniform(0.001, 0.1, size).astype(np.float32)
    zero = rng.integers(limits.min, limits.max, size, dtype=kind, endpoint=True) if with_zero else None
    inputs = {"q": quantized, "s": scale} | ({"z": zero} if with_zero else {})
    node = helper.make_node("DequantizeLinear", list(inputs), ["y"], **({} if axis is None else {"axis": axis}))
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in inputs.items()
    ]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    (expected,) = ReferenceEvaluator(model).run(None, inputs)
    got = dequantize(quantized, scale, zero, axis=1 if axis is None else axis)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_names_and_orientation():
    """One embedding, one linear layer, one norm, quantised as exporters do: scalar, per channel, left in float."""
    rng = np.random.default_rng(1)
    table = rng.integers(-127, 127, (11, 4), dtype=np.int8)
    matrix = rng.integers(-127, 127, (4, 6), dtype=np.int8)  # [in, out]
    scales = rng.uniform(0.01, 0.1, 6).astype(np.float32)
    constants = {
        "m.emb.weight_quantized": table,
        "m.emb.weight_scale": np.float32(0.5),
        "m.emb.weight_zero_point": np.int8(3),
        "onnx::MatMul_9_quantized": matrix,
        "onnx::MatMul_9_scale": scales,
        "onnx::MatMul_9_zero_point": np.zeros(6, np.int8),
        "m.lin.bias": rng.normal(size=6).astype(np.float32),
        "m.norm.weight": rng.normal(size=4).astype(np.float32),
        "act_scale": np.float32(0.1),
        "act_zero": np.int8(0),
    }
    parts = ("quantized", "scale", "zero_point")
    nodes = [
        helper.make_node(
            "DequantizeLinear", [f"m.emb.weight_{n}" for n in ("quantized", "scale", "zero_point")], ["e"]
        ),
        helper.make_node("Gather", ["e", "ids"], ["h"], name="/m/emb/Gather"),
        helper.make_node("QuantizeLinear", ["h", "act_scale", "act_zero"], ["hq"]),
        helper.make_node("DequantizeLinear", ["hq", "act_scale", "act_zero"], ["hd"]),
        helper.make_node("DequantizeLinear", [f"onnx::MatMul_9_{n}" for n in parts], ["w"], axis=1),
        helper.make_node("MatMul", ["hd", "w"], ["x"], name="/m/lin/MatMul"),
        helper.make_node("Add", ["m.lin.bias", "x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    tensors = float_tensors(model.SerializeToString())
    assert sorted(tensors) == ["m.emb.weight", "m.lin.bias", "m.lin.weight", "m.norm.weight"]
    np.testing.assert_allclose(tensors["m.emb.weight"], (table.astype(np.float32) - 3) * 0.5)
    np.testing.assert_allclose(tensors["m.lin.weight"], (matrix * scales).T, rtol=1e-6)
    assert all(array.flags["C_CONTIGUOUS"] for array in tensors.values())
