"""The networks, their registry, their costs, and the paper's figures for them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models import paper, registry, weights
from models.clcnet import CLCBlock, CLCNet, Interlace
from models.cost import Cost, count
from models.googlenet import STAGES, GoogLeNet
from models.probe import one_thread
from models.registry import PAPER_TABLE5, PAPER_TABLE6, REGISTRY
from models.shufflenet import Shuffle
from models.spec import ModelError, ModelSpec

every_model = pytest.mark.parametrize("spec", REGISTRY, ids=lambda spec: spec.name)
each_kind = pytest.mark.parametrize(
    "spec",
    [
        spec if spec.name in ("clcnet-tiny", "shufflenet") else pytest.param(spec, marks=pytest.mark.long)
        for spec in REGISTRY
    ],
    ids=[spec.name for spec in REGISTRY],
)
in_table6 = pytest.mark.parametrize("name", PAPER_TABLE6)


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """PyTorch on one thread, so that tests do not wait for cores that other processes keep busy."""
    with one_thread():
        yield


@cache
def built(spec: ModelSpec) -> nn.Module:
    network = spec.build().eval()
    weights.seed(network, spec.input_shape)  # as PyTorch initialises them, all images look alike to them
    return network


@cache
def cost_of(name: str) -> Cost:
    spec = registry.get(name)
    return count(built(spec), spec.input_shape)


# The registry


def test_the_registry_begins_with_table_6_in_its_order_then_has_tables_5_and_4_then_what_is_in_none() -> None:
    names = registry.names()
    assert names[: len(PAPER_TABLE6)] == PAPER_TABLE6
    places = [
        [name in paper.rows(table) for table in (6, 5, 4)].index(True) if paper.figures(name) else 3 for name in names
    ]
    assert places == sorted(places)
    assert {*PAPER_TABLE5, *paper.rows(4)} <= {*names}
    assert len({*names}) == len(names)


def test_an_unknown_model_is_refused_with_the_nearest_and_all_known_names() -> None:
    with pytest.raises(ModelError, match="unknown model 'clcNet_A': did you mean 'clcnet-a'") as refused:
        registry.get("clcNet_A")
    assert all(name in str(refused.value) for name in registry.names())


def test_an_unknown_model_unlike_any_other_gets_no_suggestion() -> None:
    with pytest.raises(ModelError, match=r"^unknown model 'resnet50': known are mobilenet, "):
        registry.get("resnet50")


def test_the_registry_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, models.registry; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@every_model
def test_a_spec_names_everything_a_report_shows(spec: ModelSpec) -> None:
    assert registry.get(spec.name) is spec
    assert spec.title
    assert spec.family
    assert spec.source
    assert spec.note


# Every network


@each_kind
def test_every_image_of_a_batch_is_computed_as_if_alone(spec: ModelSpec) -> None:
    images = torch.randn(2, *spec.input_shape[1:], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = built(spec)(images)
        alone = torch.cat([built(spec)(image[None]) for image in images])
    assert together.ndim == 2
    assert (alone[0] - alone[1]).abs().max() > 1
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-2)


# Costs


@in_table6
def test_mult_adds_agree_with_table_5_as_printed(name: str) -> None:
    figures = paper.figures(name)
    assert figures is not None
    assert figures.mult_adds == round(cost_of(name).mult_adds, -6)


@pytest.mark.parametrize(("name", "last_digit"), [("mobilenet", 1e5), ("clcnet-a", 1e4), ("clcnet-b", 1e5)])
def test_parameters_agree_with_table_5_as_printed(name: str, last_digit: float) -> None:
    figures = paper.figures(name)
    assert figures is not None
    assert figures.params is not None
    assert abs(cost_of(name).params - figures.params) <= last_digit / 2


def test_shufflenets_parameters_differ_from_table_5_by_as_much_as_its_note_says() -> None:
    figures = paper.figures("shufflenet")
    assert figures is not None
    assert figures.params is not None
    params = cost_of("shufflenet").params
    more = params - figures.params
    note = registry.get("shufflenet").note
    assert f"{params / 1e6:.2f}M parameters" in note
    assert f"{more / 1e6:.2f}M ({more / figures.params:.1%}) more" in note.replace(" %)", "%)")


def test_googlenets_costs_differ_from_table_5_by_as_much_as_its_note_says() -> None:
    figures = paper.figures("googlenet")
    assert figures is not None
    assert figures.mult_adds is not None
    assert figures.params is not None
    counted = cost_of("googlenet")
    note = registry.get("googlenet").note.replace(" %)", "%)")
    assert f"{counted.mult_adds / 1e6:.0f}M mult-adds and {counted.params / 1e6:.2f}M parameters" in note
    more, more_params = counted.mult_adds - figures.mult_adds, counted.params - figures.params
    assert f"{more / 1e6:.0f}M ({more / figures.mult_adds:.1%})" in note
    assert f"{more_params / 1e6:.2f}M ({more_params / figures.params:.1%}) more" in note
    assert max(more / figures.mult_adds, more_params / figures.params) < 0.03


def test_the_modified_clcnet_costs_what_clcnet_a_costs() -> None:
    assert cost_of("clcnet-ap") == cost_of("clcnet-a")


def test_the_tiny_network_is_tiny() -> None:
    assert cost_of("clcnet-tiny").mult_adds < 4e6
    assert cost_of("clcnet-tiny").params * 4 < 1e6


def test_costs_of_layers_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),  # 4x4 outputs, 4 channels of 3 * 9 weights each
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(64, 10, bias=False),
    )
    assert count(network, (1, 6, 8, 8)) == Cost(mult_adds=16 * 4 * 27 + 640, params=(4 * 27 + 4) + (4 + 4) + 640)


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    count(network, (1, 3, 8, 8))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


# clcNet


@pytest.mark.parametrize(("name", "expected"), [("clcnet-a", 14), ("clcnet-b", 17)])
def test_a_clcnet_has_the_blocks_of_table_2_as_often_as_table_3_says(name: str, expected: int) -> None:
    found = []
    for block in registry.get(name).build().blocks:
        igc, gc = (layer for layer in block if isinstance(layer, nn.Conv2d))
        assert (igc.kernel_size, gc.kernel_size, gc.stride) == ((3, 3), (1, 1), (1, 1))
        found.append((igc.in_channels, gc.out_channels, igc.stride[0], igc.groups, gc.groups))
    assert found == [(row.m, row.n, row.stride, row.g1, row.g2) for row in paper.blocks(name)]
    assert len(found) == expected


def test_no_activation_follows_the_3x3_of_a_block() -> None:
    kinds = [type(layer).__name__ for layer in CLCBlock(8, 16)]
    assert kinds == ["Conv2d", "BatchNorm2d", "Interlace", "Conv2d", "BatchNorm2d", "ReLU"]


@given(st.tuples(*[st.integers(0, 3)] * 4))
def test_clcnet_repeats_its_blocks_as_asked(repeats: tuple[int, int, int, int]) -> None:
    with torch.device("meta"):
        blocks = CLCNet(repeats, width=8, classes=10).blocks
    widths = [block[0].in_channels for block in blocks]
    a, b, c, d = repeats
    assert widths == [8, 16, *[32] * a, 32, *[64] * b, 64, *[128] * c, 128, *[256] * d]


def inputs_seen_by_each_output(block: CLCBlock, c_in: int) -> list[set[int]]:
    """The channel receptive field of each output channel, found by putting a mark on one input at a time."""
    layers = [layer for layer in block if isinstance(layer, nn.Conv2d | Interlace)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    marks = torch.eye(c_in)[:, :, None, None].expand(-1, -1, 3, 3)  # (input, C, 3, 3)
    with torch.no_grad():
        reached = nn.Sequential(*layers)(marks).sum((2, 3)) > 0  # (input, output)
    return [set(torch.nonzero(column).flatten().tolist()) for column in reached.T]


@pytest.mark.parametrize(("c_in", "c_out"), [(8, 8), (32, 64), (64, 128)])
def test_a_clc_block_has_the_full_channel_receptive_field(c_in: int, c_out: int) -> None:
    fields = inputs_seen_by_each_output(CLCBlock(c_in, c_out), c_in)
    assert all(field == set(range(c_in)) for field in fields)


def test_without_interlacing_a_block_sees_only_half_of_its_channels() -> None:
    fields = inputs_seen_by_each_output(CLCBlock(32, 64, interlaced=False), 32)
    assert fields == [set(range(16))] * 32 + [set(range(16, 32))] * 32


# GoogLeNet


@cache
def googlenet() -> GoogLeNet:
    network = built(registry.get("googlenet"))
    assert isinstance(network, GoogLeNet)
    return network


def shapes_of(layers: nn.Sequential, x: Tensor) -> list[tuple[int, ...]]:
    """(C, H, W) after each of `layers`, the first of which takes `x`."""
    found = []
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
            found.append(tuple(x.shape[1:]))
    return found


def test_googlenets_sizes_are_those_of_table_1_of_its_paper() -> None:
    stem = shapes_of(googlenet().stem, torch.zeros(1, 3, 224, 224))
    assert stem == [(64, 112, 112), *[(64, 56, 56)] * 3, *[(192, 56, 56)] * 2]
    x = torch.zeros(1, *stem[-1])
    found = []
    for stage in googlenet().stages:
        found.append(shapes_of(stage, x))
        x = torch.zeros(1, *found[-1][-1])
    assert found == [
        [(192, 28, 28), (256, 28, 28), (480, 28, 28)],
        [(480, 14, 14), *[(512, 14, 14)] * 3, (528, 14, 14), (832, 14, 14)],
        [(832, 7, 7), (832, 7, 7), (1024, 7, 7)],
    ]


def test_googlenets_mult_adds_are_those_of_table_1_of_its_paper_but_for_two_rows() -> None:
    table_1 = [34, 360, 128, 304, 73, 88, 100, 119, 170, 54, 71, 1]  # millions, from the first convolution on
    counted = [count(googlenet().stem[0], (1, 3, 224, 224)), count(googlenet().stem[3:5], (1, 64, 56, 56))]
    c_in = 192
    for stage, modules, size in zip(googlenet().stages, STAGES, (28, 14, 7), strict=True):
        for module, channels in zip(list(stage)[1:], modules, strict=True):
            counted.append(count(module, (1, c_in, size, size)))
            c_in = channels.joined
    counted.append(count(googlenet().classifier, (1, c_in)))
    assert sum(cost.mult_adds for cost in counted) == cost_of("googlenet").mult_adds
    assert sum(cost.params for cost in counted) == cost_of("googlenet").params
    differ = {
        row: round(cost.mult_adds / 1e6)
        for row, (cost, millions) in enumerate(zip(counted, table_1, strict=True))
        if abs(cost.mult_adds / 1e6 - millions) >= 1
    }
    assert differ == {0: 118, 9: 51}  # the first convolution, and 5a
    note = registry.get("googlenet").note
    assert "34M and 2.7K for the first convolution" in note
    assert f"make {differ[0]}M" in note
    assert f"5a (54M, {differ[9]}M here)" in note
    assert f"sums to {sum(table_1)}M" in note


def test_googlenet_is_22_layers_deep_with_real_5x5_convolutions_and_a_bias_in_each() -> None:
    """Section 5 counts the layers with parameters on the longest way: two to an inception module."""
    modules = [module for stage in STAGES for module in stage]
    convolutions = [layer for layer in googlenet().modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 3 + 6 * len(modules)
    assert 3 + 2 * len(modules) + 1 == 22
    assert [layer.kernel_size for layer in convolutions].count((5, 5)) == len(modules)
    assert all(layer.bias is not None for layer in convolutions)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in googlenet().modules())


def test_googlenet_is_normalised_before_and_after_its_second_convolution() -> None:
    kinds = [type(layer).__name__ for layer in googlenet().stem]
    norm = "LocalResponseNorm"
    assert kinds == ["Sequential", "MaxPool2d", norm, "Sequential", "Sequential", norm]


def test_the_response_norm_is_krizhevskys() -> None:
    """b = a / (2 + 1e-4 * sum of a^2 over five channels) ^ 0.75, of Krizhevsky et al. 2012, section 3.3."""
    layer = googlenet().stem[2]
    a = 100 * torch.randn(1, 9, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sums = torch.stack([a[:, max(0, i - 2) : i + 3].square().sum(1) for i in range(9)], dim=1)
    torch.testing.assert_close(layer(a), a / (2 + 1e-4 * sums) ** 0.75)


# Interlacing


def numbered(n: int, channels: int, height: int, width: int) -> Tensor:
    """(N, C, H, W) without two values alike."""
    return torch.arange(n * channels * height * width, dtype=torch.float64).view(n, channels, height, width)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
groupings = st.tuples(st.integers(1, 12), st.integers(1, 12))
either = pytest.mark.parametrize("kind", [Interlace, Shuffle])


@either
@given(shapes, groupings)
def test_interlacing_puts_channel_j_of_group_i_at_j_groups_plus_i(
    kind: type[Interlace | Shuffle], shape: tuple[int, int, int], grouping: tuple[int, int]
) -> None:
    (n, height, width), (groups, size) = shape, grouping
    x = numbered(n, groups * size, height, width)
    y = kind(groups)(x)
    for i in range(groups):
        for j in range(size):
            assert torch.equal(y[:, j * groups + i], x[:, i * size + j])


@either
@given(shapes, groupings)
def test_interlacing_is_a_permutation_of_channels_and_undone_by_the_other_way_round(
    kind: type[Interlace | Shuffle], shape: tuple[int, int, int], grouping: tuple[int, int]
) -> None:
    (n, height, width), (groups, size) = shape, grouping
    x = numbered(n, groups * size, height, width)
    y = kind(groups)(x)
    assert torch.equal(y.flatten().sort().values, x.flatten())
    assert torch.equal(kind(size)(y), x)


# The paper's figures


@in_table6
def test_the_paper_prints_all_of_tables_5_and_6_for_its_networks(name: str) -> None:
    figures = paper.figures(name)
    assert figures is not None
    assert None not in (figures.mult_adds, figures.params, figures.top1, figures.speed_ms)
    assert figures.onnx_size_megabytes is not None
    assert registry.get(name).paper == figures


@pytest.mark.parametrize("name", PAPER_TABLE5)
def test_the_paper_prints_costs_and_top_1_for_all_of_table_5(name: str) -> None:
    figures = paper.printed(5, name)
    assert None not in (figures.mult_adds, figures.params, figures.top1)
    assert figures.top5 is None


def test_the_rows_of_a_table_are_in_the_papers_order() -> None:
    assert paper.rows(3) == ("clcnet-a", "clcnet-b")
    assert paper.rows(4) == ("clcnet-a", "clcnet-ap")
    assert PAPER_TABLE5 == ("googlenet", "mobilenet", "shufflenet", "clcnet-a", "clcnet-b")
    assert PAPER_TABLE6 == ("mobilenet", "shufflenet", "clcnet-a", "clcnet-b")


def test_what_a_table_prints_is_told_apart_from_what_another_does() -> None:
    assert paper.printed(3, "clcnet-a") == paper.printed(4, "clcnet-a") == paper.PaperFigures(top1=0.704, top5=0.895)
    assert paper.printed(4, "clcnet-ap") == paper.PaperFigures(top1=0.677, top5=0.878)
    assert paper.printed(3, "googlenet") == paper.PaperFigures()


def test_what_is_not_in_the_paper_has_no_figures() -> None:
    assert paper.figures("clcnet-tiny") is None
    assert paper.figures("clcnet-ap") == paper.PaperFigures(top1=0.677, top5=0.878)


def test_the_speeds_of_the_paper_rank_as_its_text_says() -> None:
    """Section 5.3: clcNets are faster than MobileNet, by less than their mult-adds are fewer."""
    mobilenet, clcnet_a = paper.figures("mobilenet"), paper.figures("clcnet-a")
    assert mobilenet is not None
    assert clcnet_a is not None
    assert (mobilenet.speed_ms, clcnet_a.speed_ms) == (1780, 1431)
    assert math.isclose(clcnet_a.mult_adds / mobilenet.mult_adds, 0.60, abs_tol=0.01)  # "40% reduction"


def test_the_device_of_table_6() -> None:
    device = paper.table6_device()
    assert (device.core_part, device.cores, device.max_khz) == ("Cortex-A7", 4, 1_300_000)
    assert (device.runtime, device.passes) == ("Caffe2", 10)
