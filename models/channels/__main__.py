"""`python -m models.channels`: a CLC block's least cost, its receptive fields, and drawings of the graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from models.channels import clc
from models.channels.clc import AREA_3X3, Candidate
from models.channels.graph import ChannelError, ChannelGraph, block, depthwise, pointwise, regular

EXIT_FAILED = 1
EXIT_USAGE = 2

#: Rows of the table of candidates.
SHOWN_CANDIDATES = 6

#: Enough for any network; at some point listing every channel takes long.
MOST_CHANNELS = 8192

channel_count = click.IntRange(1, MOST_CHANNELS)


class UsageError(click.ClickException):
    """A one-line error about what the user asked for."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Block:
    """A CLC block's channels, M -> L -> N, and the area of its first kernel."""

    c_in: int
    c_mid: int
    c_out: int
    area: int

    def graph(self, groups: Candidate, *, interlaced: bool = True) -> ChannelGraph:
        """The block's graph from input to output with these groups."""
        return block(clc.kernels(self.c_in, self.c_mid, self.c_out, groups.g1, groups.g2, interlaced=interlaced))

    def with_groups(self, g1: int, g2: int) -> Candidate:
        """Any valid pair with its cost, whether or not it satisfies Eq. 1."""
        return Candidate(g1, g2, clc.cost(self.c_in, self.c_mid, self.c_out, g1, g2, self.area))

    def candidates(self, g1: int | None = None, g2: int | None = None) -> list[Candidate]:
        """What Eq. 2 allows, the least cost first."""
        return clc.candidates(self.c_in, self.c_mid, self.c_out, area=self.area, g1=g1, g2=g2)


@click.command(context_settings={"max_content_width": 100})
@click.option("--in", "c_in", type=channel_count, required=True, help="M, the channels that come in.")
@click.option("--mid", "c_mid", type=channel_count, help="L, the channels between the kernels.  [default: M]")
@click.option("--out", "c_out", type=channel_count, required=True, help="N, the channels that go out.")
@click.option("--g1", type=click.IntRange(min=1), help="Groups of the first kernel, the IGC. Default: of least cost.")
@click.option("--g2", type=click.IntRange(min=1), help="Groups of the second kernel, the GC. Default: of least cost.")
@click.option("--area", type=click.IntRange(min=1), default=AREA_3X3, show_default=True, help="A, of the first kernel.")
@click.option("--measure", is_flag=True, help="Build the block in PyTorch, too, and compare its graph, by gradients.")
@click.option(
    "--draw",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Draw the graphs of the paper's figures 2 to 6, and of this block if it is small, as PNG and SVG.",
)
def main(
    c_in: int,
    c_mid: int | None,
    c_out: int,
    g1: int | None,
    g2: int | None,
    area: int,
    measure: bool,
    folder: Path | None,
) -> None:
    """Choose the groups of a CLC block, and see what its outputs depend on.

    The block is an interlaced grouped convolution (IGC) from M to L channels in g1 groups, then a 1x1 grouped
    convolution (GC) from L to N channels in g2 groups. Without --g1 and --g2 they are those of least cost
    with which every output depends on every input (FCRF; Eqs. 1 and 2 of the clcNet paper).

    Exit codes: 0 all is well; 1 PyTorch's block has another graph (--measure); 2 usage.
    """
    channels = Block(c_in, c_mid or c_in, c_out, area)
    try:
        chosen = channels.with_groups(g1, g2) if g1 and g2 else channels.candidates(g1, g2)[0]
    except ChannelError as error:
        raise UsageError(str(error)) from None
    click.echo(
        "\n\n".join([summary(channels, chosen, given=(g1, g2)), alternatives(channels, chosen), cheapest(channels)])
    )
    if measure:
        click.echo(f"\n{measurement(channels, chosen)}")
    if folder:
        click.echo(f"\n{drawn(channels, chosen, folder)}")


def summary(channels: Block, chosen: Candidate, given: tuple[int | None, int | None]) -> str:
    """The chosen pair in words: whether it satisfies Eq. 1, and what the outputs see."""
    m, l, n = channels.c_in, channels.c_mid, channels.c_out  # noqa: E741 - the paper's letter
    fixed = [f"{name} = {value}" for name, value in zip(("g1", "g2"), given, strict=True) if value]
    how = ["least cost (Eq. 2)", f"least cost (Eq. 2) with {' '.join(fixed)}", "as given"][len(fixed)]
    pair = f"g1 = {chosen.g1}, g2 = {chosen.g2}"
    holds = clc.satisfies_rule(l, chosen.g1, chosen.g2)
    rule = f"g1 * g2 = {chosen.g1 * chosen.g2} {'<=' if holds else '>'} L = {l}"
    igc, gc = clc.kernels(m, l, n, chosen.g1, chosen.g2)
    fields = [f"{name} {field_sizes(graph)}" for name, graph in (("IGC", igc), ("GC", gc), ("block", igc >> gc))]
    return "\n".join(
        [
            f"CLC block {m} -> {l} -> {n} (M -> L -> N), A = {channels.area}: {pair}, {how}",
            f"Eq. 1 {'holds' if holds else 'is violated'}: {rule}.",
            f"Receptive field along the channels: {', '.join(fields)}.",
            f"Full channel receptive field (FCRF): {'yes' if (igc >> gc).has_full_receptive_field else 'no'}.",
            f"Cost per location, which is the number of weights: {chosen.cost}.",
        ]
    )


def field_sizes(graph: ChannelGraph) -> str:
    """The sizes of a graph's receptive fields for a person to read: one, or the least and the largest."""
    least, largest = min(graph.receptive_field_sizes), max(graph.receptive_field_sizes)
    size = str(largest) if least == largest else f"{least} to {largest}"
    return f"{size} of {graph.inputs}"


def alternatives(channels: Block, chosen: Candidate) -> str:
    """What a regular convolution can be replaced by, and what each costs."""
    m, n, area = channels.c_in, channels.c_out, channels.area
    best = channels.candidates()[0]
    blocks = {"CLC, least cost (Eq. 2)": best}
    if channels.c_mid % 2 == 0 and n % 2 == 0:
        blocks["CLC, g2 = 2 (section 4.1)"] = channels.candidates(g2=2)[0]
    if chosen not in blocks.values():
        blocks["CLC, as asked for"] = chosen
    regular_cost = area * m * n
    rows = [
        ("regular convolution", "", "", regular_cost, regular(m, n)),
        ("depthwise separable", "", "", area * m + m * n, depthwise(m) >> pointwise(m, n)),
        *[(name, str(pair.g1), str(pair.g2), pair.cost, channels.graph(pair)) for name, pair in blocks.items()],
        ("least cost, not interlaced", str(best.g1), str(best.g2), best.cost, channels.graph(best, interlaced=False)),
    ]
    cells = [
        [name, g1, g2, str(cost), f"{cost / regular_cost:.2%}", field_sizes(graph), fcrf(graph)]
        for name, g1, g2, cost, graph in rows
    ]
    headers = ["block", "g1", "g2", "cost", "of regular", "receptive field", "FCRF"]
    return table(cells, headers, ["left", *["right"] * 5, "left"])


def fcrf(graph: ChannelGraph) -> str:
    """Whether all outputs see all inputs, in a word."""
    return "yes" if graph.has_full_receptive_field else "no"


def cheapest(channels: Block) -> str:
    """The best of the pairs that Eq. 2 allows."""
    found = channels.candidates()
    cells = [
        [str(pair.g1), str(pair.g2), str(pair.g1 * pair.g2), str(pair.cost), f"{pair.cost / found[0].cost:.2f}"]
        for pair in found[:SHOWN_CANDIDATES]
    ]
    title = f"The cheapest {len(cells)} of {len(found)} pairs that Eq. 2 allows:"
    return f"{title}\n{table(cells, ['g1', 'g2', 'g1 * g2', 'cost', 'of least'], ['right'] * 5)}"


def table(cells: list[list[str]], headers: list[str], alignment: list[str]) -> str:
    """For a person to read."""
    from tabulate import tabulate

    text: str = tabulate(cells, headers, disable_numparse=True, colalign=alignment)
    return text


def measurement(channels: Block, chosen: Candidate) -> str:
    """What PyTorch says of the same block. Raises ClickException where its graph is another."""
    from models.channels.measured import clc_block, measured

    module = clc_block(channels.c_in, channels.c_mid, channels.c_out, chosen.g1, chosen.g2)
    found = measured(module, channels.c_in, size=1)
    if found != channels.graph(chosen):
        raise click.ClickException(f"PyTorch's block has another graph: its outputs see {field_sizes(found)} inputs")
    return f"Measured in PyTorch by gradients: the same graph, every output sees {field_sizes(found)}."


def drawn(channels: Block, chosen: Candidate, folder: Path) -> str:
    """Draws the paper's figures, and the block itself if it is small enough; says what became of it."""
    from models.channels import drawings

    panel = drawings.clc_panel(channels.c_in, channels.c_mid, channels.c_out, chosen.g1, chosen.g2)
    figures = drawings.paper_figures()
    try:
        paths = drawings.write(figures, folder)
        own = {f"clc-{'-'.join(map(str, panel.rows))}-g1-{chosen.g1}-g2-{chosen.g2}": [panel]}
        paths += drawings.write(own, folder)
    except ChannelError as error:
        return f"{len(paths)} drawings in {folder}; {error}"
    except OSError as error:
        raise UsageError(f"cannot write to --draw {str(folder)!r}: {error.strerror}") from None
    return f"{len(paths)} drawings in {folder}, of this block: {paths[-2].name} and .svg"


if __name__ == "__main__":
    main(prog_name="python -m models.channels")
