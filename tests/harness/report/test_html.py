"""report.html: what it says, that data stays data, and how it behaves in a real browser."""

from __future__ import annotations

import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import THROTTLED, in_precision, own_model, run_of, three_devices, write_run
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from programs import PATIENCE_S
from synthetic import STATE, record, table6, throttled
from synthetic_runs import PHONE

from device.records import DeviceInfo
from harness.analyse.rows import table_rows
from harness.record import journal
from harness.record.command import command
from harness.record.plan import Limits
from harness.record.plan import read as read_plan
from harness.record.record import Record
from harness.report import html, sections
from harness.report.write import PAGE_NAME, write
from toolchain.paths import RESULTS

EXAMPLE = RESULTS / "example"
CHROMIUM = "/usr/bin/chromium"  # of Debian's package; setup/debian-packages.txt has it
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>|`**a**`[b](http://c.invalid)"


class Elements(HTMLParser):
    """What elements there are, with their attributes, and the page's text without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._inside or self._inside[-1] not in ("script", "style"):
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def page_of(records: list[Record], **plan: Any) -> str:
    """The page without plots, which are slow to draw and looked at elsewhere."""
    return html.rendered(sections.run_document(run_of(records, **plan), records, table_rows(records, Limits()), []))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a recorded run, one with counts and profiles, and a made-up one of three devices."""
    folder = tmp_path_factory.mktemp("runs")
    for name, source in (("example", EXAMPLE), ("counts", EXAMPLE / "counts")):
        (folder / name).mkdir()
        for file in ("plan.json", "records.jsonl"):
            shutil.copy(source / file, folder / name)
    write_run(folder / "devices", three_devices())
    for name in ("example", "counts", "devices"):
        write(folder / name)
    return {name: folder / name / PAGE_NAME for name in ("example", "counts", "devices")}


# --- what it says


@pytest.mark.parametrize("name", ["example", "counts", "devices"])
def test_the_page_is_whole_in_itself(runs: dict[str, Path], name: str) -> None:
    found = Elements(runs[name].read_text())
    loads = [
        value
        for _, attributes in found.found
        for key in ("src", "href", "xlink:href", "data", "srcset")
        if (value := attributes.get(key)) is not None and not value.startswith(("#", "data:"))
    ]
    assert loads == []
    assert "url(http" not in runs[name].read_text()
    assert "@import" not in runs[name].read_text()


@pytest.mark.parametrize("name", ["example", "counts", "devices"])
def test_each_id_stands_once_and_what_is_referred_to_is_there(runs: dict[str, Path], name: str) -> None:
    text = runs[name].read_text()
    found = Elements(text)
    ids = Counter(attributes["id"] for _, attributes in found.found if attributes.get("id"))
    assert [one for one, count in ids.items() if count > 1] == []
    referred = re.findall(r'url\(#([^)"]+)\)', text)
    for _, attributes in found.found:
        referred += (attributes.get("aria-labelledby") or "").split()
        referred += [value[1:] for key in ("href",) if (value := attributes.get(key) or "").startswith("#")]
    assert set(referred) - set(ids) == set()


@pytest.mark.parametrize("name", ["example", "counts", "devices"])
def test_the_page_is_built_for_a_screen_reader(runs: dict[str, Path], name: str) -> None:
    found = Elements(runs[name].read_text())
    assert found.of("html")[0]["lang"] == "en"
    assert [len(found.of(tag)) for tag in ("title", "h1", "main", "header", "footer")][1:] == [1, 1, 1, 1]
    assert len(found.of("caption")) == len(found.of("table")) > 0
    assert all(cell.get("scope") in ("col", "row") for cell in found.of("th"))
    plots = found.of("svg")
    assert plots
    assert all(one["role"] == "img" and len((one["aria-labelledby"] or "").split()) == 2 for one in plots)
    assert all(one.get("tabindex") == "0" for one in found.of("div") if one.get("class") == "scroll")


def test_a_plot_is_described_by_what_is_seen_in_it_in_numbers(runs: dict[str, Path]) -> None:
    descriptions = re.findall(r'<desc id="([a-z0-9-]+)-desc">(.*?)</desc>', runs["counts"].read_text(), re.DOTALL)
    assert {name for name, _ in descriptions} == {
        "latency-vs-mult-adds",
        "cycles",
        "relative-speed",
        "samples",
        "profile-by-operator",
        "sizes",
    }
    assert all(re.search(r"\d", text) for _, text in descriptions)
    assert (
        "569M mult-adds, 825.5 ms"
        in dict(re.findall(r'<desc id="([a-z0-9-]+)">(.*?)</desc>', runs["example"].read_text()))[
            "latency-vs-mult-adds-desc"
        ]
    )


def test_the_verdict_stands_above_the_table_and_says_what_kind_of_time_it_is(runs: dict[str, Path]) -> None:
    main = runs["example"].read_text().split("<main>")[1]
    verdict = Elements(main[: main.index('id="table-6"')]).text
    assert "clcNet-A, grouped takes the fewest" in verdict
    assert "estimated: MT6580 at 1.3 GHz" in verdict
    assert "0.804" in verdict


def test_every_section_of_the_text_report_is_on_the_page(runs: dict[str, Path]) -> None:
    for page in runs.values():
        text = Elements(page.read_text()).text
        for heading in re.findall(r"^##+ (.+)$", (page.parent / "report.md").read_text(), re.MULTILINE):
            assert heading.replace("\\", "") in text


def test_versions_hashes_and_the_command_are_there(runs: dict[str, Path]) -> None:
    text = Elements(runs["example"].read_text()).text
    planned, records = read_plan(EXAMPLE), journal.read(EXAMPLE)
    for one in records:
        assert one.artifact is not None
        assert one.bundle is not None
        for what in (*one.artifact.sha256, one.bundle.sha256, f"torch {one.artifact.tool_versions['torch']}"):
            assert what in text
    assert planned.commit is not None
    assert planned.commit in text
    assert command(planned) in text


def test_a_warning_is_said_in_its_row_in_words() -> None:
    hot = throttled(record("clcnet-a", [400.0, 401.0]), 1)
    page = page_of([record("mobilenet", [500.0, 501.0]), hot])
    (row,) = [row for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if "throttled" in row and "details" in row]
    assert "clcNet-A" in row
    assert THROTTLED in row
    assert row.count("throttled (pass 2)") == 2  # beside the name, which stays in sight, and in the column


def test_a_row_is_marked_as_the_fastest_only_where_that_can_be_told() -> None:
    def marked(other_ms: list[float]) -> bool:
        records = [record("mobilenet", [60, 61, 62], on=PHONE), record("clcnet-a", other_ms, on=PHONE)]
        return 'class="mark">fastest' in page_of(records)

    assert marked([50, 51, 52])
    assert not marked([59, 60, 63])


def test_a_failure_is_said_in_its_row_and_above_everything() -> None:
    page = page_of([*table6(), record("clcnet-a", threads=2, status="crashed", error="ended with SIGKILL")])
    (row,) = [row for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL) if "crashed" in row and "details" in row]
    assert "ended with SIGKILL" in row
    assert "1 failed" in Elements(page).text.split("In short")[0]


def test_a_run_in_which_everything_failed_or_nothing_began_has_a_page() -> None:
    assert "Nothing was measured" in page_of([record("mobilenet", status="crashed", error="SIGKILL")])
    assert "No case was begun" in page_of([])


def test_several_devices_have_a_column_each_and_then_a_table_each(runs: dict[str, Path]) -> None:
    text = runs["devices"].read_text()
    captions = re.findall(r'<caption id="data-table-\d+"><span class="stays">(.*?)</span></caption>', text)
    assert [caption.split(" (")[0].split(":")[0] for caption in captions] == [
        "All devices",
        "R58M12ABCDE",
        "board",
        "board",
    ]
    overview = text[text.index('id="data-table-1"') : text.index('id="data-table-2"')]
    assert overview.count('<th scope="col"') == 5
    assert re.search(r"R58M12ABCDE: hardware", overview)
    assert re.search(r"board:cortex-a7-smp: an emulator", overview)


def test_precisions_have_their_columns_and_runs_in_fp32_do_not() -> None:
    quantized = in_precision(record("mobilenet", [300.0, 300.1]), "int8", 0.021)
    page = page_of([record("mobilenet", [500.0, 500.1]), quantized])
    assert "1.0 MobileNet-224, int8" in page
    assert "fewest instructions, onnxruntime" in page  # a modelled time is not called fast, in the table neither
    assert "Relative to fp32" in page
    assert "2.1e-02" in page
    assert "fp32" not in page_of(table6()).split("Versions and hashes")[1].split("<tbody>")[0]
    assert "Relative to fp32" not in page_of(table6())


def test_a_run_of_own_models_says_nothing_of_mobilenet_or_the_paper_in_its_table() -> None:
    page = page_of([own_model("mine", [50.0, 50.1]), own_model("theirs", [70.0, 70.1])])
    head = page[page.index("<thead>") : page.index("</thead>")]
    assert "MobileNet" not in head
    assert "Paper" not in head
    assert "mine takes the fewest instructions of 2" in page


def test_what_comes_from_records_is_shown_and_never_obeyed() -> None:
    def hostile(one: Record) -> Record:
        case = replace(one.case, model=HOSTILE, cpus=HOSTILE)
        device: DeviceInfo = replace(one.device, serial=HOSTILE, model=HOSTILE, os=HOSTILE, soc=HOSTILE)
        assert one.artifact is not None
        artifact = replace(one.artifact, source=HOSTILE, weights=HOSTILE, tool_versions={HOSTILE: HOSTILE})
        before = replace(STATE, foreground_app=HOSTILE, screen_on=True)
        return replace(one, case=case, id=case.id, device=device, artifact=artifact, before=before)

    failed = replace(hostile(record("clcnet-a", threads=2, status="crashed", error=HOSTILE)))
    records = [hostile(record("mobilenet", [500.0, 501.0])), failed]
    page = page_of(records, run=HOSTILE, command=HOSTILE, commit=HOSTILE, utc=HOSTILE, devices=(HOSTILE,))
    found = Elements(page)
    assert len(found.of("script")) == 1
    assert found.of("img") == []
    assert {one["href"] for one in found.of("a") if not (one["href"] or "").startswith("#")} == set()
    assert all(not name.startswith("on") for _, attributes in found.found for name in attributes)
    assert found.text.count("<script>alert('x')</script>") >= 10
    assert "".join(HOSTILE.split()) in "".join(found.text.split())


def test_hostile_names_stay_text_in_plots_too(tmp_path: Path) -> None:
    one = own_model("mine", [50.0, 50.1])
    case = replace(one.case, model=HOSTILE)
    folder = write_run(tmp_path / "run", [replace(one, case=case, id=case.id)])
    write(folder)
    found = Elements((folder / PAGE_NAME).read_text())
    assert len(found.of("script")) == 1
    assert len(found.of("svg")) >= 2
    assert found.of("img") == []


def test_the_same_records_give_the_same_bytes(runs: dict[str, Path], tmp_path: Path) -> None:
    for file in ("plan.json", "records.jsonl"):
        shutil.copy(runs["counts"].parent / file, tmp_path)
    write(tmp_path)
    assert (tmp_path / PAGE_NAME).read_bytes() == runs["counts"].read_bytes()


# --- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=PATIENCE_S * 1000)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Callable[..., Any]:
    """Opens a page without a network; at the end nothing may have been asked for, and nothing complained of."""

    @contextmanager
    def open_(path: Path, width: int = 1280, **options: Any) -> Iterator[Page]:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        yield page
        context.close()
        assert complaints == []
        assert [url for url in requests if url not in (path.as_uri(), "data:,")] == []

    return open_


@pytest.mark.parametrize("name", ["example", "counts", "devices"])
@pytest.mark.parametrize("width", [375, 1280])
def test_the_page_is_as_wide_as_the_screen_and_its_tables_scroll_in_themselves(
    opened: Callable[..., Any], runs: dict[str, Path], name: str, width: int
) -> None:
    with opened(runs[name], width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.locator(".scroll:has(table.broad)")
        widest = page.evaluate("Math.max(...[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth))")
        assert widest > width  # there is something to scroll
        assert boxes.count() >= 1


def column(page: Page, place: int) -> list[str]:
    cells = page.locator(f"#data-table-1 ~ tbody tr > :nth-child({place})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def head(page: Page, text: str) -> Any:
    return page.locator("#data-table-1 ~ thead th", has_text=text)


def figure(text: str) -> float:
    """Of a cell, without its interval."""
    return float(text.split(maxsplit=1)[0])


def test_a_table_is_sorted_by_a_click_and_back_by_another(opened: Callable[..., Any], runs: dict[str, Path]) -> None:
    with opened(runs["example"]) as page:
        place = [text.split("\n")[0] for text in page.locator("#data-table-1 ~ thead th").all_inner_texts()]
        median = next(at for at, text in enumerate(place, start=1) if text.startswith("Median"))
        as_written = column(page, median)
        button = head(page, "Median").get_by_role("button")
        button.click()
        assert column(page, median) == sorted(as_written, key=figure)
        assert head(page, "Median").get_attribute("aria-sort") == "ascending"
        button.click()
        assert column(page, median) == sorted(as_written, key=figure, reverse=True)
        assert head(page, "Median").get_attribute("aria-sort") == "descending"
        head(page, "Model").get_by_role("button").click()
        assert column(page, 1) == sorted(column(page, 1), key=str.casefold)
        assert head(page, "Median").get_attribute("aria-sort") is None


def test_a_table_is_sorted_with_the_keyboard_and_what_has_no_figure_stays_below(
    opened: Callable[..., Any], runs: dict[str, Path]
) -> None:
    with opened(runs["example"]) as page:
        head(page, "Paper (ms)").get_by_role("button").focus()
        for order in ("ascending", "descending"):
            page.keyboard.press("Enter" if order == "ascending" else "Space")
            assert head(page, "Paper (ms)").get_attribute("aria-sort") == order
            names = [text.strip() for text in page.locator("#data-table-1 ~ thead th").all_inner_texts()]
            place = next(at for at, text in enumerate(names, start=1) if text.startswith("Paper (ms)"))
            assert column(page, place)[4:] == ["–"] * 4


def test_the_first_stop_of_the_keyboard_leads_to_the_results(opened: Callable[..., Any], runs: dict[str, Path]) -> None:
    with opened(runs["example"]) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # it is seen then
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "in-short"
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def test_all_is_there_without_a_script(opened: Callable[..., Any], runs: dict[str, Path]) -> None:
    with opened(runs["devices"], java_script_enabled=False) as page:
        assert page.get_by_role("heading", level=1).is_visible()
        assert page.locator("article").first.is_visible()
        assert page.locator("figure svg").count() == 6
        assert all(plot.is_visible() for plot in page.locator("figure svg").all())
        assert page.locator("thead button").count() == 0
        assert page.locator("#data-table-2 ~ tbody tr").first.is_visible()


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        *(("light", name) for name in ("example", "counts", "devices")),
        ("dark", "counts"),
        *(pytest.param("dark", name, marks=pytest.mark.long) for name in ("example", "devices")),
    ],
)
def test_axe_finds_no_violation(opened: Callable[..., Any], runs: dict[str, Path], name: str, scheme: str) -> None:
    with opened(runs[name], color_scheme=scheme) as page:
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def picture(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(full_page=False))).convert("L")


def test_dark_is_dark_and_light_is_light_and_both_show_something(
    opened: Callable[..., Any], runs: dict[str, Path]
) -> None:
    means = {}
    for scheme in ("light", "dark"):
        with opened(runs["example"], color_scheme=scheme) as page:
            for place in ("#in-short", "#every-timed-pass"):
                page.locator(place).scroll_into_view_if_needed()
                page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
                shown = picture(page)
                histogram = shown.histogram()
                means[scheme, place] = sum(value * count for value, count in enumerate(histogram)) / sum(histogram)
                low, high = shown.getextrema()
                assert high - low > 180  # type: ignore[operator]
    assert all(mean > 200 if scheme == "light" else mean < 70 for (scheme, _), mean in means.items()), means


def test_it_prints_on_pages_whole(opened: Callable[..., Any], runs: dict[str, Path]) -> None:
    with opened(runs["example"]) as page:
        pdf = page.pdf(prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1280
        overflow = "[...document.querySelectorAll('.scroll')].map(it => getComputedStyle(it).overflowX)"
        assert set(page.evaluate(overflow)) == {"visible"}  # paper does not scroll
