"""The theory of the clcNet paper: channel dependency graphs, the rule for FCRF (Eq. 1), the least cost (Eq. 2)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product
from math import lcm
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models import channels, paper
from models.channels import (
    ChannelError,
    ChannelGraph,
    clc,
    depthwise,
    drawings,
    grouped,
    interlaced_grouped,
    pointwise,
    regular,
    shuffle,
)
from models.channels.__main__ import main
from models.channels.clc import Candidate
from models.channels.measured import clc_block, measured
from models.clcnet import CLCBlock, Interlace, clcnet_a, clcnet_ap
from models.mobilenet import DepthwiseSeparable
from models.probe import one_thread
from models.shufflenet import Shuffle, ShuffleUnit


class Block(NamedTuple):
    """A CLC block's channels, M, L, N, and groups."""

    c_in: int
    c_mid: int
    c_out: int
    g1: int
    g2: int


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """PyTorch on one thread, so that tests do not wait for cores that other processes keep busy."""
    with one_thread():
        yield


@st.composite
def valid_blocks(draw: st.DrawFn) -> Block:
    """Any block whose g1 divides M and L, and whose g2 divides L and N."""
    g1, g2 = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    factors = st.integers(1, 3)
    return Block(g1 * draw(factors), lcm(g1, g2) * draw(factors), g2 * draw(factors), g1, g2)


def all_valid_blocks(most: int) -> list[Block]:
    """Every valid block with up to `most` channels anywhere."""
    return [
        Block(c_in, c_mid, c_out, g1, g2)
        for c_in, c_mid, c_out in product(range(1, most + 1), repeat=3)
        for g1 in clc.common_divisors(c_in, c_mid)
        for g2 in clc.common_divisors(c_mid, c_out)
    ]


def graph_of(block: Block, *, interlaced: bool = True) -> ChannelGraph:
    return channels.block(clc.kernels(*block, interlaced=interlaced))


groupings = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))  # groups; channels of each, in and out


# The graphs of kernels


def test_every_output_of_a_regular_convolution_depends_on_every_input() -> None:
    """Figure 2a. A pointwise convolution is a regular one, seen along the channels."""
    graph = regular(3, 2)
    assert graph.fields == (frozenset({0, 1, 2}),) * 2
    assert pointwise(3, 2) == graph


def test_an_output_of_a_grouped_convolution_depends_on_its_own_group() -> None:
    """Figure 2b."""
    assert grouped(4, 6, 2).fields == (frozenset({0, 1}),) * 3 + (frozenset({2, 3}),) * 3


def test_an_output_of_a_depthwise_convolution_depends_on_one_input() -> None:
    """Figure 2c."""
    assert [set(field) for field in depthwise(3).fields] == [{0}, {1}, {2}]
    assert [set(field) for field in depthwise(2, multiplier=2).fields] == [{0}, {0}, {1}, {1}]


def test_shuffling_puts_channel_j_of_group_i_at_j_groups_plus_i() -> None:
    assert [set(field) for field in shuffle(6, 2).fields] == [{0}, {3}, {1}, {4}, {2}, {5}]


def test_interlacing_takes_the_groups_in_turn() -> None:
    """Figure 5b: the outputs make fields, each with one output of every group."""
    first, second = frozenset({0, 1, 2}), frozenset({3, 4, 5})
    assert interlaced_grouped(6, 6, 2).fields == (first, second) * 3


@given(groupings)
def test_the_receptive_field_of_a_grouped_convolution_has_m_over_g_channels(grouping: tuple[int, int, int]) -> None:
    """Section 3.1; and section 3.2 for the interlaced one."""
    g, size_in, size_out = grouping
    for kind in (grouped, interlaced_grouped):
        assert set(kind(g * size_in, g * size_out, g).receptive_field_sizes) == {size_in}


@given(groupings)
def test_interlacing_leaves_the_groups_and_reorders_their_outputs(grouping: tuple[int, int, int]) -> None:
    """Section 3.2: "keeping the channel connectivity in its CDG unchanged"."""
    g, size_in, size_out = grouping
    plain, interlaced = (kind(g * size_in, g * size_out, g) for kind in (grouped, interlaced_grouped))
    assert sorted(map(sorted, plain.fields)) == sorted(map(sorted, interlaced.fields))
    assert plain.groups() == tuple(frozenset(range(i * size_out, (i + 1) * size_out)) for i in range(g))
    assert interlaced.groups() == tuple(frozenset(range(i, g * size_out, g)) for i in range(g))


@given(groupings)
def test_shuffling_the_other_way_round_undoes_it(grouping: tuple[int, int, int]) -> None:
    g, size, _ = grouping
    assert shuffle(g * size, g) >> shuffle(g * size, size) == depthwise(g * size)


@pytest.mark.parametrize(
    "make",
    [lambda: grouped(6, 6, 4), lambda: grouped(6, 8, 3), lambda: grouped(4, 4, 0), lambda: interlaced_grouped(8, 6, 4)],
)
def test_groups_that_do_not_divide_the_channels_are_refused(make) -> None:
    with pytest.raises(ChannelError, match=r"^\d+ input and \d+ output channels do not make \d groups$"):
        make()


def test_what_cannot_be_shuffled_is_refused() -> None:
    with pytest.raises(ChannelError, match=r"^6 channels do not make 4 groups to shuffle$"):
        shuffle(6, 4)


def test_a_graph_depends_on_nothing_but_its_inputs() -> None:
    with pytest.raises(ChannelError, match="depends on channel 3, but there are 3 inputs"):
        ChannelGraph(3, (frozenset({0, 3}),))


# The graphs of blocks


def test_a_block_depends_on_what_its_kernels_reach_together() -> None:
    graph = grouped(4, 4, 2) >> ChannelGraph(4, (frozenset({0}), frozenset({1, 2}), frozenset()))
    assert [set(field) for field in graph.fields] == [{0, 1}, {0, 1, 2, 3}, set()]
    assert graph.receptive_field(1) == frozenset({0, 1, 2, 3})
    assert graph.receptive_field_sizes == (2, 4, 0)
    assert not graph.has_full_receptive_field


@given(groupings, st.integers(1, 4))
def test_it_does_not_matter_which_kernels_are_joined_first(grouping: tuple[int, int, int], c_out: int) -> None:
    g, size_in, size_out = grouping
    a, b, c = grouped(g * size_in, g * size_out, g), shuffle(g * size_out, g), grouped(g * size_out, g * c_out, g)
    assert (a >> b) >> c == a >> (b >> c) == channels.block([a, b, c])


def test_kernels_that_do_not_fit_are_not_joined() -> None:
    with pytest.raises(ChannelError, match=r"^4 output channels cannot feed a kernel of 6 inputs$"):
        regular(3, 4) >> depthwise(6)


@pytest.mark.parametrize("panel", drawings.paper_figures()["figure-3"], ids=lambda panel: panel.title)
def test_the_blocks_of_figure_3_all_have_fcrf(panel: drawings.Panel) -> None:
    """Section 3.1: "It can be observed that all of them achieve FCRF"."""
    assert panel.graph.has_full_receptive_field


def test_replacing_both_kernels_by_grouped_ones_loses_fcrf() -> None:
    """Figure 4."""
    before, after = drawings.paper_figures()["figure-4"]
    assert before.graph.has_full_receptive_field
    assert not after.graph.has_full_receptive_field


# Eq. 1: the rule for FCRF


def test_the_rule_and_the_graph_agree_for_every_valid_block_of_up_to_12_channels() -> None:
    """Also where a group of the GC begins in the middle of a field: g1 consecutive channels are of g1 groups."""
    blocks = all_valid_blocks(12)
    unaligned = [block for block in blocks if block.c_mid // block.g2 % block.g1 and block.g1 < block.c_mid // block.g2]
    assert unaligned
    for block in blocks:
        fcrf = graph_of(block).has_full_receptive_field
        assert clc.satisfies_rule(block.c_mid, block.g1, block.g2) == fcrf, block


@settings(max_examples=150, deadline=None)
@given(valid_blocks(), st.booleans())
def test_the_rule_the_graph_and_the_gradients_agree(block: Block, interlaced: bool) -> None:
    found = measured(clc_block(*block, interlaced=interlaced), block.c_in)
    assert found == graph_of(block, interlaced=interlaced)
    if interlaced:
        assert found.has_full_receptive_field == clc.satisfies_rule(block.c_mid, block.g1, block.g2)


@given(valid_blocks())
def test_a_clc_block_sees_as_many_groups_as_its_second_kernel_takes_channels(block: Block) -> None:
    """Where the rule is violated, too, all outputs see equally much."""
    groups_seen = min(block.g1, block.c_mid // block.g2)
    assert set(graph_of(block).receptive_field_sizes) == {block.c_in // block.g1 * groups_seen}


@given(valid_blocks())
def test_without_interlacing_there_is_fcrf_only_if_one_of_the_kernels_has_no_groups(block: Block) -> None:
    assert graph_of(block, interlaced=False).has_full_receptive_field == (1 in (block.g1, block.g2))


def test_without_interlacing_the_outputs_may_see_differently_much() -> None:
    assert graph_of(Block(6, 6, 3, 2, 3), interlaced=False).receptive_field_sizes == (3, 6, 3)


# What PyTorch's gradients say


@cache
@cache
def measured_blocks(interlaced: bool) -> list[ChannelGraph]:
    network = clcnet_a() if interlaced else clcnet_ap()
    return [measured(block, block[0].in_channels, size=1) for block in network.blocks]  # size: a 3x3 of one pixel


@pytest.mark.parametrize("interlaced", [True, False], ids=["clcnet-a", "clcnet-ap"])
def test_the_real_blocks_have_the_graphs_of_table_2(interlaced: bool) -> None:
    expected = [
        graph_of(Block(row.m, row.m, row.n, row.g1, row.g2), interlaced=interlaced) for row in paper.blocks("clcnet-a")
    ]
    assert measured_blocks(interlaced) == expected


def test_the_blocks_of_clcnet_a_have_fcrf() -> None:
    assert all(graph.has_full_receptive_field for graph in measured_blocks(True))


def test_the_blocks_of_clcnet_ap_do_not_and_see_half_of_their_inputs() -> None:
    """Section 5.2."""
    for graph in measured_blocks(False):
        assert not graph.has_full_receptive_field
        assert set(graph.receptive_field_sizes) == {graph.inputs // 2}


@pytest.mark.parametrize("kind", [Interlace, Shuffle])
@given(groupings)
def test_the_shuffles_of_the_networks_are_the_graphs_shuffle(
    kind: type[Interlace | Shuffle], grouping: tuple[int, int, int]
) -> None:
    g, size, _ = grouping
    assert measured(kind(g), g * size) == shuffle(g * size, g)


def test_the_blocks_of_mobilenet_are_measured_as_they_are_defined() -> None:
    assert measured(DepthwiseSeparable(6, 8, stride=2), 6) == depthwise(6) >> pointwise(6, 8)


@pytest.mark.parametrize(("c_out", "fcrf"), [(24, False), (36, True), (48, True)])
def test_the_rule_holds_for_the_units_of_shufflenet_too(c_out: int, fcrf: bool) -> None:
    """Two grouped convolutions of three groups with c_out / 4 channels and a shuffle between them."""
    middle = c_out // 4
    unit = channels.block([grouped(c_out, middle, 3), shuffle(middle, 3), depthwise(middle), grouped(middle, c_out, 3)])
    assert measured(ShuffleUnit(c_out, c_out).branch, c_out) == unit
    assert unit.has_full_receptive_field == clc.satisfies_rule(middle, 3, 3) == fcrf


def test_measuring_sees_through_weights_that_cancel_and_shut_relus_and_leaves_them_alone() -> None:
    block = CLCBlock(8, 8)
    for weight in block.parameters():
        nn.init.constant_(weight, -1)
    before = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    assert measured(block.train(), 8) == graph_of(Block(8, 8, 8, 4, 2))
    assert block.training
    assert all(torch.equal(before[name], tensor) for name, tensor in block.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in block.parameters())


def test_measuring_counts_outputs_by_the_hundred_and_outputs_without_height_and_width() -> None:
    assert measured(nn.Sequential(nn.Flatten(), nn.Linear(2, 130)), 2, size=1) == regular(2, 130)


# Eq. 2: the least cost


def test_the_least_cost_reproduces_table_1_in_full() -> None:
    assert len(paper.table1()) == 10
    for row in paper.table1():
        least = clc.minimise(row.m, row.l, row.n, area=9)
        assert (least.g1, least.g2) == (row.g1, row.g2), row


def test_with_g2_fixed_to_2_it_reproduces_table_2() -> None:
    """Section 4.1: "we fix the g2 parameter to 2 for all CLC blocks, and find the value of g1 using Eq. (2)"."""
    assert len(paper.table2()) == 9
    for row in paper.table2():
        least = clc.minimise(row.m, row.m, row.n, g2=2)
        assert (least.g1, least.g2) == (row.g1, row.g2), row


def test_no_row_of_the_paper_hangs_on_how_ties_are_resolved() -> None:
    found = [clc.candidates(row.m, row.l, row.n) for row in paper.table1()]
    found += [clc.candidates(row.m, row.m, row.n, g2=2) for row in paper.table2()]
    assert all(best.cost < second.cost for best, second, *_ in found)


def test_a_tie_goes_to_the_larger_g1() -> None:
    """9 * 6 * 6 / 6 + 27 * 6 / 1 = 9 * 6 * 6 / 2 + 27 * 6 / 3 = 216."""
    first, second, *_ = clc.candidates(6, 6, 27)
    assert (first, second) == (Candidate(6, 1, 216), Candidate(2, 3, 216))


channel_counts = st.integers(1, 48)


@given(channel_counts, channel_counts, channel_counts, st.integers(1, 25))
def test_the_least_cost_is_the_least_of_all_pairs_that_satisfy_the_constraints_as_printed(
    c_in: int, c_mid: int, c_out: int, area: int
) -> None:
    allowed = [
        (g1, g2)
        for g1 in range(1, min(c_in, c_mid) + 1)
        for g2 in range(1, min(c_mid, c_out) + 1)
        if c_in % g1 == c_mid % g1 == 0 and c_mid % g2 == c_out % g2 == 0 and g1 * g2 <= c_mid
    ]
    costs = {(g1, g2): area * c_mid * c_in / g1 + c_out * c_mid / g2 for g1, g2 in allowed}
    found = clc.candidates(c_in, c_mid, c_out, area=area)
    assert {(pair.g1, pair.g2): pair.cost for pair in found} == costs
    assert found == sorted(found, key=lambda pair: (pair.cost, -pair.g1))
    assert clc.minimise(c_in, c_mid, c_out, area=area) == found[0]


@given(valid_blocks(), st.integers(1, 25))
def test_the_cost_is_the_number_of_weights(block: Block, area: int) -> None:
    """ "computational cost per location (equals to number of parameters)": an edge of the graph has A weights."""
    igc, gc = clc.kernels(*block)
    assert clc.cost(*block, area=area) == area * igc.edges + gc.edges
    assert clc.cost(*block) == sum(weight.numel() for weight in clc_block(*block).parameters())


def test_fixed_groups_stay_what_they_are() -> None:
    assert {pair.g1 for pair in clc.candidates(64, 64, 64, g1=8)} == {8}
    assert clc.minimise(64, 64, 64, g1=8, g2=4) == Candidate(8, 4, clc.cost(64, 64, 64, 8, 4))


def test_groups_that_the_constraints_forbid_are_refused_with_those_that_they_allow() -> None:
    with pytest.raises(ChannelError, match=r"^g1 = 5 does not divide M = 12 and L = 6: it can be 1, 2, 3, 6$"):
        clc.minimise(12, 6, 8, g1=5)
    with pytest.raises(ChannelError, match=r"^g2 = 4 does not divide L = 6 and N = 8: it can be 1, 2$"):
        clc.minimise(12, 6, 8, g2=4)
    with pytest.raises(ChannelError, match=r"^g1 = 4, g2 = 4 violate g1 \* g2 <= L = 8 \(Eq. 1\)$"):
        clc.minimise(8, 8, 8, g1=4, g2=4)


# The command


def answer(*argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, argv)
    return result.exit_code, result.output


def test_the_command_shows_the_least_cost_and_the_field() -> None:
    code, output = answer("--in", "256", "--mid", "256", "--out", "512")
    assert code == 0
    assert "g1 = 32, g2 = 8, least cost (Eq. 2)" in output
    assert "Eq. 1 holds: g1 * g2 = 256 <= L = 256." in output
    assert "IGC 8 of 256, GC 32 of 256, block 256 of 256" in output
    assert "(FCRF): yes." in output
    rows = {line.split("  ")[0]: line.split()[-6:] for line in output.splitlines()}
    assert rows["CLC, g2 = 2 (section 4.1)"][0] == "70144"
    assert rows["regular convolution"][0] == str(9 * 256 * 512)


def test_the_command_says_of_a_given_pair_what_is_wrong_with_it() -> None:
    code, output = answer("--in", "8", "--out", "8", "--g1", "4", "--g2", "4", "--measure")
    assert code == 0
    assert "Eq. 1 is violated: g1 * g2 = 16 > L = 8." in output
    assert "block 4 of 8" in output
    assert "(FCRF): no." in output
    assert "CLC, as asked for" in output
    assert "Measured in PyTorch by gradients: the same graph, every output sees 4 of 8." in output


def test_the_command_fixes_one_of_the_parameters() -> None:
    assert "g1 = 256, g2 = 2, least cost (Eq. 2) with g2 = 2" in answer("--in", "512", "--out", "512", "--g2", "2")[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--in", "8", "--out", "8", "--g1", "3"],
            "Error: g1 = 3 does not divide M = 8 and L = 8: it can be 1, 2, 4, 8",
        ),
        (["--in", "8", "--out", "0"], "Invalid value for '--out'"),
        (["--out", "8"], "Missing option '--in'"),
    ],
)
def test_the_command_refuses_bad_input_with_one_line_and_code_2(argv: list[str], message: str) -> None:
    code, output = answer(*argv)
    assert code == 2
    assert message in output.splitlines()[-1]


def test_a_block_that_pytorch_sees_otherwise_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.channels.measured.clc_block", lambda *sizes: clc_block(*sizes, interlaced=False))
    code, output = answer("--in", "8", "--out", "8", "--g1", "4", "--g2", "2", "--measure")
    assert code == 1
    assert output.splitlines()[-1] == "Error: PyTorch's block has another graph: its outputs see 4 of 8 inputs"


def test_the_command_imports_neither_torch_nor_matplotlib_before_they_are_needed() -> None:
    imports = "import sys, models.channels.__main__, models.channels.drawings"
    code = f"{imports}; print({{'torch', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Drawings


def test_the_command_draws_the_papers_figures_and_a_small_block(tmp_path: Path) -> None:
    folder = tmp_path / "drawings"
    code, output = answer("--in", "4", "--out", "4", "--draw", str(folder))
    assert code == 0
    names = [f"figure-{number}" for number in (2, 3, 4, 5, 6)] + ["clc-4-4-4-g1-4-g2-1"]
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert output.splitlines()[-1].endswith("of this block: clc-4-4-4-g1-4-g2-1.png and .svg")


def test_a_block_too_large_to_draw_is_refused_in_words(tmp_path: Path) -> None:
    large = {"large": [drawings.clc_panel(32, 32, 64, 16, 2)]}
    with pytest.raises(ChannelError, match=r"^large is not drawn: a row of 64 channels is more than 24$"):
        drawings.write(large, tmp_path / "drawings")
    assert not (tmp_path / "drawings").exists()


def test_the_same_graphs_are_drawn_as_the_same_bytes(tmp_path: Path) -> None:
    figure = {"block": [drawings.clc_panel(4, 4, 4, 2, 2)]}
    once, again = (drawings.write(figure, tmp_path / name) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


@pytest.mark.parametrize(
    ("panel", "verdict"),
    [
        (drawings.clc_panel(8, 8, 8, 4, 2), "FCRF: yes; output 0 sees 8 of 8 inputs"),
        (drawings.clc_panel(8, 8, 8, 4, 2, interlaced=False), "FCRF: no; output 0 sees 4 of 8 inputs"),
        (drawings.clc_panel(8, 8, 8, 4, 4), "FCRF: no; output 0 sees 4 of 8 inputs"),
    ],
)
def test_a_drawing_says_whether_fcrf_holds(panel: drawings.Panel, verdict: str) -> None:
    (axes,) = drawings.draw([panel]).axes
    assert verdict in "\n".join(text.get_text() for text in axes.texts)


def test_a_drawing_has_an_arrow_for_every_dependency_and_a_circle_for_every_channel() -> None:
    panel = drawings.clc_panel(4, 6, 9, 2, 3)
    (axes,) = drawings.draw([panel]).axes
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == sum(graph.edges for _, graph in panel.kernels)
    assert len(axes.collections) == sum(panel.rows) == 4 + 6 + 9


def test_a_drawing_marks_what_the_shown_output_depends_on() -> None:
    panel = drawings.clc_panel(8, 8, 8, 4, 4)
    assert panel.seen == [panel.graph.receptive_field(0), frozenset({0, 1}), frozenset({0})]
