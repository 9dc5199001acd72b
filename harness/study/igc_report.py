"""The study of IGC's three ways, as a report made from its records: tables, plot, and whose a gain is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from harness.analyse.gains import promise
from harness.analyse.rows import BASELINE, Row, table_rows
from harness.analyse.statistics import shown_ratio
from harness.record import journal, units
from harness.record import plan as plans
from harness.record.errors import UsageError
from harness.record.titles import how_measured, meaning_of_time
from harness.record.units import NOTHING, milliseconds
from harness.report import columns, csv, markdown, sections
from harness.report.document import Block, Document, Line, Section, Table, code, paragraph, table_of
from harness.report.files import write_figures, writing
from harness.report.plots import style
from harness.study import interleaved
from harness.study.interleaved import Interleaved

REPORT_NAME, SUMMARY_NAME, DATA_NAME = "igc-study.md", "igc-summary.md", "igc-study.csv"

_COLOURS = {None: "#8a8a8a", "grouped": "#1f77b4", "depthwise": "#2ca089", "fused": "#d9822b"}

#: The rows of each device, by its serial.
ByDevice = Mapping[str, Sequence[Row]]


def read(folder: Path) -> dict[str, list[Row]]:
    """Raises UsageError where there is no study."""
    runs = sorted(path.parent for path in folder.glob(f"*/{journal.FILE_NAME}"))
    if not runs:
        raise UsageError(f"{folder}: no study there; name a folder that holds the runs of one")
    return {
        rows[0].record.device.serial: rows
        for run in runs
        if (rows := table_rows(journal.read(run), plans.read(run).limits))
    }


def write(by_device: ByDevice, folder: Path) -> list[Path]:
    """Writes report, summary, table and plot; returns the files. Raises UsageError when they cannot be written."""
    texts = {
        REPORT_NAME: markdown.rendered(document(by_device, interleaved.read(folder))),
        SUMMARY_NAME: markdown.table(summary(by_device)),
        DATA_NAME: csv.rendered(columns.data([row for rows in by_device.values() for row in rows])),
    }
    plot = style.made("igc-study", "Interlaced grouped convolution, three ways", lambda: drawn(by_device))
    with writing(folder):
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [*(folder / name for name in texts), *write_figures([plot] if plot else [], folder)]


def document(by_device: ByDevice, measured: Sequence[Interleaved]) -> Document:
    single = [row for rows in by_device.values() for row in rows if row.record.case.threads == 1]
    lead: tuple[Block, ...] = (
        paragraph(
            *(
                code("grouped"),
                ": grouped convolutions whose channels are interlaced afterwards, as the paper ran them. ",
            ),
            *(code("depthwise"), ": sums of depthwise convolutions, in standard operators (section 4.2). "),
            *(code("fused"), ": one operator for the chain of blocks. All in ONNX Runtime. The line to reach is the "),
            "ratio of the mult-adds to MobileNet's, as if nothing but arithmetic took time.",
        ),
        *((paragraph("Median time over MobileNet's, one thread:"), summary(by_device)) if single else ()),
    )
    found = [Section(serial, (*_device(rows), _table(rows))) for serial, rows in by_device.items()]
    if measured:
        how = (
            "ONNX Runtime's Python API, one thread, one process, each network in turn with MobileNet; the ratio is "
            "of the medians, with a 95 % interval: a bootstrap over the turns."
        )
        in_turn = table_of([_interleaved(pair) for pair in measured])
        found.append(Section("This machine, pass by pass in turn", (paragraph(how), in_turn)))
    if explained := tuple(sections.gains_explained(single)):
        found.append(Section("What is the network's, and what the kernel's", explained))
    return Document("Interlaced grouped convolution, three ways", lead, tuple(found))


def summary(by_device: ByDevice) -> Table:
    """A row for each network and way, a column for each device: its time over MobileNet's on one thread."""
    lines: dict[tuple[str, str | None], dict[str, str]] = {}
    for serial, rows in by_device.items():
        single = [row for row in rows if row.record.case.threads == 1]
        for row in single:
            cells = lines.setdefault((row.record.case.model, row.record.case.igc), {"Network": row.title})
            cells["Line (mult-adds)"] = _ratio(promise(row, _baseline(single)))
            cells[serial] = row.record.status if row.relative is None else units.ratio(row.relative)
    return table_of(list(lines.values()))


def _baseline(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.record.case.model == BASELINE), None)


def _ratio(ratio: float | None) -> str:
    return NOTHING if ratio is None else units.ratio(ratio)


def _device(rows: Sequence[Row]) -> list[Block]:
    device = rows[0].record.device
    cores = f"{len(device.cores)} core{'' if len(device.cores) == 1 else 's'}"
    text = f"{device.model}, {device.abi}, {cores}; {how_measured(device)}."
    if len(device.cores) == 1 and any(row.record.case.threads > 1 for row in rows):
        text += " Threads share its one core, so that what several show is what they cost, not what they gain."
    return [paragraph(text)]


def _table(rows: Sequence[Row]) -> Table:
    """A row for each network and way; for each count of threads its time, and against MobileNet and one thread."""
    counts = sorted({row.record.case.threads for row in rows})
    cases: dict[tuple[str, str | None], dict[int, Row]] = {}
    for row in rows:
        cases.setdefault((row.record.case.model, row.record.case.igc), {})[row.record.case.threads] = row
    lines = []
    for by_threads in cases.values():
        first = next(iter(by_threads.values()))
        cells = {"Network": first.title, "Line (mult-adds)": _ratio(promise(first, _baseline(rows)))}
        for count in counts:
            found = by_threads.get(count)
            timed = found if found is not None and found.summary is not None else None
            head = f"{count} thread{'s' if count > 1 else ''}"
            median_ns = timed.summary.median_ns if timed is not None and timed.summary else None
            cells[f"{head} (median, ms)"] = NOTHING if median_ns is None else milliseconds(median_ns)
            cells[f"{head}: over MobileNet"] = _ratio(timed.relative if timed is not None else None)
        ends_well = all(row.record.status == "ok" for row in by_threads.values())
        lines.append({**cells, "Output check": "ok" if ends_well else first.record.status})
    return table_of(lines, left=("Network", "Output check"))


def _interleaved(pair: Interleaved) -> Line:
    [name] = [name for name in pair.samples_ns if name != BASELINE]
    found = interleaved.ratio(pair, name, BASELINE)
    return {
        "Network": name,
        "Turns": str(found.rounds),
        "Median (ms)": milliseconds(median(pair.samples_ns[name])),
        "MobileNet's (ms)": milliseconds(median(pair.samples_ns[BASELINE])),
        "Over MobileNet": shown_ratio(found),
    }


def drawn(by_device: ByDevice) -> Figure:
    """A panel for each device: the time of each network over MobileNet's, one thread, beside the mult-adds' ratio."""

    figure, panels = style.in_rows(len(by_device), 5.4, 4.6, most=len(by_device))
    for axes, (serial, rows) in zip(panels, by_device.items(), strict=True):
        shown = [row for row in rows if row.record.case.threads == 1 and row.relative is not None]
        baseline = next((row for row in shown if row.record.case.model == BASELINE), None)
        for y, row in enumerate(shown):
            relative = end = row.relative or 0.0
            axes.barh(y, relative, height=0.72, color=_COLOURS[row.record.case.igc])
            if baseline is not None and (line := promise(row, baseline)) is not None:
                axes.plot([line, line], [y - 0.42, y + 0.42], color="black", linewidth=2)
                end = line if relative <= line < relative + 0.15 else relative  # where the number would stand
            axes.text(end + 0.015, y, units.ratio(relative), va="center", fontsize=8.5)
        axes.set_yticks(range(len(shown)), [style.label(row.title) for row in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, max([1.0, *(row.relative or 0.0 for row in shown)]) * 1.16)
        axes.set_title(f"{style.label(serial)}\n{meaning_of_time(rows[0].record.device)}", loc="left", fontsize=10)
        axes.set_xlabel("time over MobileNet's, one thread (black: ratio of the mult-adds)")
    return figure
