"""ONNX files from others end in a checked model or in one clear line; nothing outside their folder is read."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from export.artifact import ExportError
from export.own import foreign
from export.own.foreign import open_foreign

VALUES = bytes(range(16))  # four floats
SECRET = b"not to be read!!"


def tiny(location: str | None = None, **said: str) -> onnx.ModelProto:
    """y = x + w, four floats; w's values in the file called `location`, or else in the model."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    if location is None:
        w.raw_data = VALUES
    else:
        w.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **said}.items():
            w.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "tiny", ends[:1], ends[1:], [w])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refusal(path: Path) -> str:
    """The one line that says why a file is refused."""
    with pytest.raises(ExportError) as caught:
        open_foreign(path)
    message = str(caught.value)
    assert message.isprintable()
    return message


def loaded(model: onnx.ModelProto) -> bytes:
    (w,) = model.graph.initializer
    assert w.data_location == TensorProto.DEFAULT
    assert not w.external_data
    return bytes(w.raw_data)


def test_a_model_is_read_as_it_is(tmp_path: Path) -> None:
    assert open_foreign(write(tmp_path, tiny())) == tiny()


@pytest.mark.parametrize(
    "name", ["w", "a folder/w w", "line\nbreak", "väikt/重み", "'\"; $(reboot)", "-w", "c:\\w", "..w"]
)
def test_external_data_of_any_name_in_the_folder_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"head" + VALUES + b"tail")
    assert loaded(open_foreign(write(tmp_path, tiny(name, offset="4", length="16")))) == VALUES
    assert loaded(open_foreign(write(tmp_path, tiny(name, offset="4")))) == VALUES


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(VALUES)
    (tmp_path / "link").symlink_to("w")
    assert loaded(open_foreign(write(tmp_path, tiny("link")))) == VALUES


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("../secret", "leaves the model's folder;"),
        ("sub/../../secret", "leaves the model's folder;"),
        ("link", "by a link"),
        ("out/secret", "by a link"),
        ("loop", "missing"),
        ("nothing", "missing"),
        ("x" * 5000, "missing"),
        ("", "names no file"),
        ("w\0", "names no file"),
        (".", "not an ordinary file"),
        ("pipe", "not an ordinary file"),
        ("short", "too short"),
    ],
)
def test_external_data_that_is_elsewhere_or_not_whole_is_refused(tmp_path: Path, location: str, why: str) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "out").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    (folder / "short").write_bytes(VALUES[:-1])
    os.mkfifo(folder / "pipe")
    assert why in refusal(write(folder, tiny(location)))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"offset": "-4"}, "no number"),
        ({"offset": "9" * 30}, "no number"),
        ({"length": "1e1"}, "no number"),
        ({"length": "12"}, "has 12 bytes"),
        ({"offset": "4"}, "too short"),
    ],
)
def test_offsets_and_lengths_that_do_not_fit_are_refused(tmp_path: Path, said: dict[str, str], why: str) -> None:
    (tmp_path / "w").write_bytes(VALUES)
    assert why in refusal(write(tmp_path, tiny("w", **said)))


def test_nothing_is_read_for_a_model_of_which_a_later_tensor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").write_bytes(VALUES)
    model = tiny("w")
    model.graph.initializer.append(tiny("../w").graph.initializer[0])
    path = write(tmp_path, model)
    opened: list[Path] = []
    read = foreign._read
    monkeypatch.setattr(foreign, "_read", lambda file, *more: opened.append(file) or read(file, *more))
    refusal(path)
    assert opened == [path]


def hide_in_a_subgraph(model: onnx.ModelProto, w: TensorProto) -> None:
    branch = helper.make_graph([], "branch", [], [], [w])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


def hide_in_a_sparse_tensor(model: onnx.ModelProto, w: TensorProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(w)


def hide_in_a_function(model: onnx.ModelProto, w: TensorProto) -> None:
    model.functions.add().node.append(helper.make_node("Constant", [], ["c"], value=w))


def hide_in_training(model: onnx.ModelProto, w: TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(w)


@pytest.mark.parametrize("hide", [hide_in_a_subgraph, hide_in_a_sparse_tensor, hide_in_a_function, hide_in_training])
def test_external_data_is_found_wherever_it_hides(
    tmp_path: Path, hide: Callable[[onnx.ModelProto, TensorProto], None]
) -> None:
    model = tiny()
    hide(model, tiny("../secret").graph.initializer[0])
    assert "leaves the model's folder" in refusal(write(tmp_path, model))


def test_a_file_and_its_external_data_are_bounded_by_what_one_file_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert foreign.MOST_BYTES < 2**31
    (tmp_path / "w").write_bytes(VALUES)
    path = write(tmp_path, tiny("w"))
    size = path.stat().st_size
    for most_bytes, words in (
        (size - 1, f"model.onnx: larger than {size - 1} bytes"),
        (size + 15, "with its external"),
    ):
        monkeypatch.setattr(foreign, "MOST_BYTES", most_bytes)
        assert words in refusal(path)
        assert "one file is what a device is given" in refusal(path)
    monkeypatch.setattr(foreign, "MOST_BYTES", size + 16)
    assert loaded(open_foreign(path)) == VALUES


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(2**31)
    monkeypatch.setattr(foreign, "_read", lambda *_any: pytest.fail("it was read"))
    assert "the most that one ONNX file can hold" in refusal(tmp_path / "model.onnx")


def with_type(model: onnx.ModelProto, kind: str) -> None:
    model.graph.initializer.add(name="more", data_type=TensorProto.DataType.Value(kind), dims=[2], raw_data=b"\0" * 2)


def with_cast(model: onnx.ModelProto) -> None:
    node = helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT8E5M2)
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("v", TensorProto.FLOAT8E5M2, [4])])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


@pytest.mark.parametrize("had", [8, 9, 10, 11, 12, 13, onnx.IR_VERSION, onnx.IR_VERSION + 1])
@pytest.mark.parametrize(
    ("add", "needs"),
    [
        (lambda _model: None, 8),
        (lambda model: with_type(model, "FLOAT16"), 8),
        (lambda model: with_type(model, "FLOAT8E4M3FN"), 9),
        (with_cast, 9),
        (lambda model: with_type(model, "INT4"), 10),
        (lambda model: setattr(model.graph.node[0], "overload", "other"), 10),
        (lambda model: setattr(model.opset_import[0], "version", 21), 10),
        (lambda model: with_type(model, "FLOAT4E2M1"), 11),
        (lambda model: model.graph.node[0].device_configurations.add(configuration_id="one"), 11),
        (lambda model: setattr(model.opset_import[0], "version", 24), 12),
    ],
    ids=[
        "plain",
        "half",
        "float8",
        "float8-in-a-branch",
        "int4",
        "overload",
        "opset-21",
        "float4",
        "devices",
        "opset-24",
    ],
)
def test_an_ir_version_is_lowered_to_what_the_file_needs(
    had: int, add: Callable[[onnx.ModelProto], None], needs: int
) -> None:
    model = tiny()
    add(model)
    model.ir_version = had
    foreign.lower_ir(model)
    assert model.ir_version == min(had, needs)


@pytest.mark.parametrize("bare", ["x", "y", "xy"])
def test_ports_without_a_shape_are_admitted_and_stay_so(bare: str, tmp_path: Path) -> None:
    model = tiny()
    for port in (*model.graph.input, *model.graph.output):
        if port.name in bare:
            port.type.tensor_type.ClearField("shape")
    assert open_foreign(write(tmp_path, model)) == model


def test_too_many_nodes_and_fields_are_refused_before_they_take_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny()
    model.graph.node.extend(model.graph.node[:1] * foreign.MOST_NODES)
    assert f"more than {foreign.MOST_NODES} nodes" in refusal(write(tmp_path, model))
    monkeypatch.setattr(foreign, "MOST_FIELDS", 10)
    assert "more than 10 fields" in refusal(write(tmp_path, tiny()))


def test_too_deep_subgraphs_are_refused(tmp_path: Path) -> None:
    model = tiny()
    for _level in range(foreign.MOST_NESTING + 1):
        outer = tiny()
        outer.graph.node[0].attribute.append(helper.make_attribute("g", model.graph))
        model = outer
    assert "deep" in refusal(write(tmp_path, model))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\x89PNG\r\n\x1a\n", b"version: 1\n" * 50, b"\xff" * 64])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "line\nbreak"
    path.write_bytes(content)
    assert "not an ONNX file" in refusal(path)


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refusal(tmp_path / "pipe")
    assert "cannot be read" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "nothing")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = tiny().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)


def test_two_hundred_mutated_files_each_give_a_model_or_one_line(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(VALUES)
    dice = random.Random(0)
    outcomes = set()
    for _file in range(200):
        content = bytearray(tiny("w", length="16").SerializeToString())
        for _byte in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        try:
            assert isinstance(open_foreign(path), onnx.ModelProto)
            outcomes.add("a model")
        except ExportError as error:
            assert str(error).isprintable()
            outcomes.add("refused")
    assert outcomes == {"a model", "refused"}


PART = st.sampled_from(
    ["..", ".", "", "sub", "out", "link", "w", "a b", "\n", "重", "%2e%2e", "\\", "~", "$HOME", "\0"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PART | st.text(max_size=4), min_size=1, max_size=5).map("/".join))
@example("sub/../w")
@example("out/secret")
@example("/etc/hostname")
def test_no_path_leads_out_of_the_folder(location: str) -> None:
    with TemporaryDirectory() as scratch:
        Path(scratch, "secret").write_bytes(SECRET)
        Path(scratch, "w").write_bytes(SECRET)
        folder = Path(scratch, "model")
        (folder / "sub").mkdir(parents=True)
        for inside in ("w", "sub/w"):
            (folder / inside).write_bytes(VALUES)
        (folder / "out").symlink_to("..")
        (folder / "link").symlink_to("../secret")
        path = write(folder, tiny(location))
        try:
            assert loaded(open_foreign(path)) == VALUES or location == "model.onnx"
        except ExportError as error:
            assert str(error).isprintable()
