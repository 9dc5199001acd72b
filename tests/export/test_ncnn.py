"""ONNX to ncnn: what pnnx could not translate is refused by name; what is left computes what it should."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import verify
from export.ncnn import convert, shuffles
from export.ncnn.convert import NcnnError, to_ncnn
from export.ncnn.formats import NCNN
from export.ncnn.layers import Layer, batch_axes, layers_of, untranslated
from toolchain import ncnn

#: Some of ncnn's layers.
KNOWN = frozenset({"Input", "Convolution", "BinaryOp", "Split", "ArgMax", "TopK", "Reshape", "Erf"})


def param(*lines: str) -> str:
    return "\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""])


INPUT = "Input in0 0 1 in0"
CONVOLUTION = "Convolution convrelu_0 1 1 in0 1 0=32 1=3 11=3 5=1 6=864 9=1"


# --- what pnnx leaves ---------------------------------------------------------------------------------


def test_layers_are_read_in_their_order() -> None:
    assert layers_of(param(INPUT, CONVOLUTION)) == [Layer("Input", "in0"), Layer("Convolution", "convrelu_0")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7767517",
        "7767517\n\n",
        "7767517\n2 2\nInput in0 0 1 in0\n",
        "7767517\n1 1\nInput\n",
        "7767518\n1 1\nInput in0 0 1 in0\n",
        "\x00\x01",
    ],
)
def test_what_is_no_list_of_layers_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError, match="pnnx wrote no list of layers"):
        layers_of(text)


@pytest.mark.parametrize(
    ("layer", "operators", "named"),
    [
        ("NonZero NonZero_0 1 1 in0 1", {"NonZero"}, "NonZero"),
        ("torch.where torch.where_1 3 1 4 2 5 out0", {"Where", "Greater"}, "Where (torch.where)"),
        ("torch.gt torch.gt_0 1 1 1 4", {"Where", "Greater"}, "Greater (torch.gt)"),
        ("Tensor.to Tensor.to_1 1 1 in0 1", {"Cast"}, "Cast (Tensor.to)"),
        ("Tensor.slice Tensor.slice_0 1 1 in0 out0", {"Slice"}, "Slice (Tensor.slice)"),
        ("F.max_pool2d F.max_pool2d_0 1 1 in0 out0", {"MaxPool"}, "MaxPool (F.max_pool2d)"),
        ("torch.logical_and x 2 1 in0 in1 out0", {"And"}, "And (torch.logical_and)"),
        ("aten::frobnicate x 1 1 in0 out0", {"Conv"}, "aten::frobnicate (as its converter calls it)"),
        ("pnnx.Expression pnnx_expr_0 0 1 1", {"Conv"}, "pnnx.Expression (as its converter calls it)"),
    ],
)
def test_a_layer_that_ncnn_does_not_have_is_named_as_the_file_does(layer: str, operators: set[str], named: str) -> None:
    assert untranslated(param(INPUT, CONVOLUTION, layer), "", KNOWN, operators) == [named]


@pytest.mark.parametrize("kind", ["ArgMax", "TopK", "Erf"])
def test_a_layer_whose_options_were_left_out_is_refused_though_ncnn_has_it(kind: str) -> None:
    text = param(INPUT, "pnnx.Expression pnnx_expr_0 0 1 1", f"{kind} {kind}_0 2 1 in0 1 out0")
    printed = f"something else\nignore pnnx.Expression pnnx_expr_0 param expr=3\nignore {kind} {kind}_0 param axis=1\n"
    assert untranslated(text, printed, KNOWN | {"pnnx.Expression"}, {kind}) == [kind]
    of_another = f"ignore {kind} {kind}_7 param axis=1\n"
    assert untranslated(param(INPUT, f"{kind} {kind}_0 1 1 in0 out0"), of_another, KNOWN, {kind}) == []


def test_what_was_translated_whole_is_not_refused() -> None:
    assert untranslated(param(INPUT, CONVOLUTION), "ignored nothing\n", KNOWN, {"Conv"}) == []


def test_the_axes_of_batches_are_those_that_pnnx_says() -> None:
    program = """
            ex.input("in0", ncnn.Mat(in0.numpy(), batch_index=1).clone())
            ex.input("in1", ncnn.Mat(in1.numpy(), batch_index=233).clone())

            _, out0 = ex.extract("out0")
            out.append(torch.from_numpy(out0.numpy(batch_index=0)))
            _, out1 = ex.extract("out1")
            out.append(torch.from_numpy(out1.numpy(batch_index=233)))
    """
    assert batch_axes(program) == {"in0": 1, "in1": None, "out0": 0, "out1": None}


# --- what is refused before pnnx is asked -------------------------------------------------------------


def saved(nodes: list[onnx.NodeProto], folder: Path, constants: dict[str, np.ndarray] | None = None) -> Path:
    """A network from x (1, 3, 8, 8) to y."""
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(made, opset_imports=domains, ir_version=8)
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def branching() -> list[onnx.NodeProto]:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    return [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]


@pytest.mark.parametrize(
    ("nodes", "constants", "words"),
    [
        (branching(), {"c": np.array(True)}, "ncnn has nothing for the operator If"),
        (
            [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],
            {},
            "ncnn has nothing for the operator Gelu of com.microsoft",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["z"]),
                helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
            ],
            {"w": np.ones((8, 8), np.float16)},
            "ncnn's converter takes fp32",
        ),
    ],
    ids=["control", "domain", "half"],
)
def test_what_can_be_known_is_refused_by_name_before_anything_is_fetched(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing_is_fetched() -> Path:
        raise AssertionError

    monkeypatch.setattr(ncnn, "converter", nothing_is_fetched)
    with pytest.raises(NcnnError) as error:
        to_ncnn(saved(nodes, tmp_path, constants), tmp_path, "fp32")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


# --- a converter that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no such thing' >&2; exit 3", r"\(exit status 3: no such thing\)"),
        ("kill -SEGV $$", r"\(signal 11\)"),
        ("printf '\\033[31mred\\033[0m\\n' >&2; exit 1", r"\(exit status 1: red\)"),
        ("exit 0", r"\(exit status 0\)"),
        ("echo 7767517 > net.ncnn.param; touch net.ncnn.bin net_ncnn.py", r"\(exit status 0\)"),
    ],
)
def test_a_converter_that_fails_ends_in_one_line_that_names_the_operators(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pnnx"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ncnn, "converter", lambda: program)
    source = saved([helper.make_node("Relu", ["x"], ["y"])], tmp_path)
    (folder := tmp_path / "new").mkdir()
    with pytest.raises(NcnnError, match=f"cannot take this network {words}; its operators: Relu$"):
        to_ncnn(source, folder, "fp32")
    assert [*folder.iterdir()] == []


def test_a_converter_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_TIMEOUT_S", 0.2)
    with pytest.raises(NcnnError, match=r"sleep did not end within 0\.2 s"):
        convert._bounded(["sleep", "600"], tmp_path, dict(os.environ))


def test_a_precision_that_cannot_be_had_is_refused_in_words() -> None:
    assert NCNN.refusal("grouped", "int8") == "ncnn runs no int8 here; ONNX Runtime does, or take precision fp32"
    assert NCNN.refusal("grouped", "fp16") is None
    assert NCNN.refusal("fused", "fp32") == "ncnn has no operator for igc fused; ONNX Runtime has, or take another igc"


# --- shuffles -----------------------------------------------------------------------------------------


def shuffling(apart: list[int], together: list[int], perm: list[int]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["groups"]),
        helper.make_node("Transpose", ["groups"], ["swapped"], perm=perm),
        helper.make_node("Reshape", ["swapped", "together"], ["y"]),
    ]
    shapes = {"apart": apart, "together": together}
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 12, 4, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in shapes.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_a_shuffle_of_channels_is_written_with_rows_and_columns_apart_and_computes_the_same(
    groups: int, tmp_path: Path
) -> None:
    model = shuffling([1, groups, 12 // groups, 24], [1, 12, 4, 6], [0, 2, 1, 3])
    values = np.arange(288, dtype=np.float32).reshape(1, 12, 4, 6)
    found = []
    for name in ("before", "after"):
        onnx.save(model, tmp_path / name)
        found.append(verify.run_onnx(tmp_path / name, values))
        shuffles.write_whole(model)
    assert list(model.graph.node[1].attribute[0].ints) == [0, 2, 1, 3, 4]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("apart", "together", "perm"),
    [
        ([1, 3, 4, 24], [1, 12, 6, 4], [0, 1, 2, 3]),
        ([1, 3, 4, 24], [1, 4, 12, 6], [0, 2, 1, 3]),
        ([1, 3, 4, 24], [1, 12, 24], [0, 2, 1, 3]),
        ([3, 1, 4, 24], [1, 12, 4, 6], [0, 2, 1, 3]),
        ([1, 3, 4, -1], [1, 12, 4, 6], [0, 2, 1, 3]),
        ([1, 3, 4, 24], [0, 12, 4, 6], [0, 2, 1, 3]),
    ],
)
def test_what_is_no_shuffle_stays_as_it_is(apart: list[int], together: list[int], perm: list[int]) -> None:
    model = shuffling(apart, together, perm)
    before = model.SerializeToString(deterministic=True)
    shuffles.write_whole(model)
    assert model.SerializeToString(deterministic=True) == before
