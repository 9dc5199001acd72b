"""What cases are called, and which of them belong together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pages import own_model
from synthetic import BOARD, record
from synthetic_runs import PHONE, rounds

from device.records import NodeTime, Profile
from harness.analyse import groups
from harness.record.record import Record
from harness.record.titles import case_title, group_title, model_title, runtime_title


def changed(one: Record, **case: object) -> Record:
    return replace(one, case=replace(one.case, **case))  # type: ignore[arg-type]


def test_a_case_is_called_by_its_network_its_runtime_and_what_is_unusual() -> None:
    assert case_title(record("mobilenet", [500.0])) == "1.0 MobileNet-224; onnxruntime 1.28.2"
    pinned = changed(record("clcnet-a", [400.0], igc="fused", threads=2), cpus="big", abi="armeabi-v7a")
    assert case_title(pinned) == "clcNet-A, fused; onnxruntime 1.28.2, 2 threads, CPUs big, armeabi-v7a"


def test_a_case_that_was_not_measured_or_whose_network_is_gone_has_a_title() -> None:
    failed = record("mobilenet", status="crashed", error="SIGKILL")
    assert case_title(changed(failed, model="gone")) == "gone; onnxruntime"


def test_an_engine_of_caffe2_is_named_and_where_it_applies_to_nothing_that_is_said_of_the_case_alone() -> None:
    one = changed(record("mobilenet", [500.0], runtime="caffe2"), format="caffe2-depthwise")
    assert runtime_title(one) == "caffe2 1.7.1, DEPTHWISE_3x3 (applies nowhere)"
    assert group_title(one) == "board:cortex-a7, caffe2 1.7.1, DEPTHWISE_3x3, 1 thread"


@pytest.mark.parametrize(
    "other",
    [
        record("mobilenet", [500.0], on=PHONE),
        record("mobilenet", [500.0], on=replace(BOARD, clock="wall")),
        record("mobilenet", [500.0], runtime="caffe2"),
        record("mobilenet", [500.0], threads=2),
        changed(record("mobilenet", [500.0]), provider="xnnpack"),
        changed(record("mobilenet", [500.0]), cpus="0-3"),
        changed(record("mobilenet", [500.0]), abi="armeabi-v7a"),
        changed(record("mobilenet", [500.0], runtime="caffe2"), format="caffe2-depthwise"),
    ],
)
def test_what_differs_in_more_than_the_network_is_not_compared(other: Record) -> None:
    one = record("clcnet-a", [400.0])
    assert groups.comparable([one, other]) == [[one], [other]]
    assert len(groups.comparable([one, record("mobilenet", [500.0])])) == 1


def test_the_rounds_of_a_case_belong_together_in_their_order_wherever_they_stand() -> None:
    first, second, third = rounds("mobilenet", [[500.0], [501.0], [502.0]])
    other = record("clcnet-a", [400.0])
    assert groups.by_case([third, other, first, second]) == [[first, second, third], [other]]


def test_a_precision_is_said_with_the_network_and_compared_with_the_others() -> None:
    one, other = record("clcnet-a", [400.0], igc="grouped"), record("mobilenet", [500.0])
    quantized = changed(one, precision="int8")
    assert model_title(quantized) == "clcNet-A, grouped, int8"
    assert groups.comparable([one, quantized, other]) == [[one, quantized, other]]
    assert groups.by_case([one, quantized]) == [[one], [quantized]]
    assert groups.across_precisions([one, quantized, other]) == [[one, quantized], [other]]


def test_a_provider_is_said_with_how_much_of_the_network_it_took() -> None:
    one = changed(record("mobilenet", [500.0]), provider="xnnpack")
    assert runtime_title(one) == "onnxruntime 1.28.2, xnnpack"
    taken, left = "XnnpackExecutionProvider", "CPUExecutionProvider"
    nodes = tuple(NodeTime(f"n{at}", "Conv", 1, taken if at < 45 else left) for at in range(60))
    assert one.measurement is not None
    told = replace(one, measurement=replace(one.measurement, profile=Profile(1, 60, nodes)))
    assert runtime_title(told) == "onnxruntime 1.28.2, xnnpack (45 of 60 nodes)"
    assert group_title(told) == "board:cortex-a7, onnxruntime 1.28.2, xnnpack, 1 thread"
    silent = tuple(replace(node, provider=None) for node in nodes)
    untold = replace(one, measurement=replace(one.measurement, profile=Profile(1, 60, silent)))
    assert runtime_title(untold) == "onnxruntime 1.28.2, xnnpack"


def test_an_own_model_has_its_own_name_even_if_that_is_a_networks() -> None:
    assert model_title(own_model("mobilenet", [500.0])) == "mobilenet"
