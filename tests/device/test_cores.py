"""Cores in clusters, and the CPUs that a run may use: the same words on every device, and no CPU that is not there."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import BOARD

from device.cores import Cluster, NoSuchCpu, as_ranges, cluster_of, clusters, cpu_list, cpu_mask, cpus_of, parse_cpus
from device.records import Core, DeviceInfo


def phone(*kinds: tuple[int, str | None, int | None]) -> DeviceInfo:
    """A phone with so many cores of each part and clock, in this order."""
    cores = [(part, khz) for count, part, khz in kinds for _ in range(count)]
    return replace(BOARD, serial="ABC", cores=tuple(Core(index, *kind) for index, kind in enumerate(cores)))


ALIKE = phone((4, "Cortex-A7", 1_300_000))
BIG_LITTLE = phone((4, "Cortex-A55", 1_800_000), (4, "Cortex-A76", 2_200_000))
PRIME = phone((4, "Cortex-A55", 1_800_000), (3, "Cortex-A78", 2_400_000), (1, "Cortex-X1", 2_840_000))
FOUR = phone((2, "Cortex-A520", 2_200_000), (3, "Cortex-A720", 3_000_000), (2, "Cortex-A720", 3_200_000))
UNTOLD = phone((4, "part 0x803 of 0x51", None), (4, "part 0x802 of 0x51", None))


def named(info: DeviceInfo) -> list[tuple[str | None, tuple[int, ...]]]:
    return [(cluster.name, cluster.cpus) for cluster in clusters(info)]


def test_alike_cores_are_one_cluster_without_a_name() -> None:
    assert clusters(ALIKE) == (Cluster(None, (0, 1, 2, 3), "Cortex-A7", 1_300_000),)


def test_clusters_come_little_first() -> None:
    assert named(BIG_LITTLE) == [("little", (0, 1, 2, 3)), ("big", (4, 5, 6, 7))]
    assert named(PRIME) == [("little", (0, 1, 2, 3)), ("mid", (4, 5, 6)), ("big", (7,))]


def test_big_cores_may_have_the_lower_numbers() -> None:
    assert named(phone((2, "Cortex-A72", 1_800_000), (4, "Cortex-A53", 1_400_000))) == [
        ("little", (2, 3, 4, 5)),
        ("big", (0, 1)),
    ]


def test_one_part_at_two_clocks_is_two_clusters() -> None:
    assert named(FOUR) == [("little", (0, 1)), ("mid", (2, 3, 4)), ("big", (5, 6))]


@pytest.mark.parametrize("khz", [2_000_000, None])
def test_a_core_that_issues_in_order_is_the_little_one_at_any_clock(khz: int | None) -> None:
    assert named(phone((2, "Cortex-A75", khz), (6, "Cortex-A55", khz))) == [
        ("little", (2, 3, 4, 5, 6, 7)),
        ("big", (0, 1)),
    ]


def test_where_no_clock_is_told_the_kernels_capacities_tell_which_cores_are_faster() -> None:
    def with_capacities(*capacities: int | None) -> DeviceInfo:
        cores = tuple(Core(index, "Cortex-A53", None, one) for index, one in enumerate(capacities))
        return replace(BOARD, cores=cores)

    assert named(with_capacities(446, 446, 1024, 1024)) == [("little", (0, 1)), ("big", (2, 3))]
    assert named(with_capacities(1024, 700, 700, 446)) == [("little", (3,)), ("mid", (1, 2)), ("big", (0,))]
    assert named(with_capacities(1024, 1024)) == [(None, (0, 1))]
    assert named(with_capacities(446, None, 1024, None)) == [(None, (0,)), (None, (1, 3)), (None, (2,))]


def test_capacities_are_not_asked_where_clocks_are_told() -> None:
    cores = tuple(Core(index, "Cortex-A55", 1_800_000, one) for index, one in enumerate((400, 410, 420, 430)))
    assert named(replace(BOARD, cores=cores)) == [(None, (0, 1, 2, 3))]


def test_where_nothing_tells_which_cores_are_faster_none_is_called_so() -> None:
    assert named(UNTOLD) == [(None, (0, 1, 2, 3)), (None, (4, 5, 6, 7))]


@pytest.mark.parametrize("unsure", [("Cortex-A55", None), (None, 1_800_000)])
def test_a_core_of_which_too_little_is_known_is_counted_to_the_cluster_that_it_fits(
    unsure: tuple[str | None, int | None],
) -> None:
    info = phone((3, "Cortex-A55", 1_800_000), (2, "Cortex-A76", 2_200_000), (1, *unsure))
    assert named(info) == [("little", (0, 1, 2, 5)), ("big", (3, 4))]


def test_a_core_that_could_belong_anywhere_is_counted_nowhere_else() -> None:
    info = phone((2, "Cortex-A55", 1_800_000), (2, "Cortex-A76", 2_200_000), (2, None, None))
    assert (None, (4, 5)) in named(info)


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        # a phone at rest: its big cores are switched off, and may be anything
        ([(4, "Cortex-A53", 1_555_200), (4, None, None)], [None, None]),
        ([(4, "Cortex-A7", 1_300_000), (4, "Cortex-A7", 1_700_000), (2, None, None)], [None, None, None]),
        # what may issue in order and is not clocked higher may be the little one
        ([(4, None, 1_400_000), (4, "Cortex-A53", 1_800_000)], [None, None]),
        ([(4, "part 0x1 of 0x99", 1_800_000), (4, "Cortex-A53", 1_800_000)], [None, None]),
        ([(4, None, 2_600_000), (4, "Cortex-A53", 1_800_000)], ["big", "little"]),
        ([(4, "Kryo-3xx-Gold", 1_800_000), (4, "Kryo-3xx-Silver", 1_800_000)], ["big", "little"]),
        ([(4, None, 1_500_000), (4, None, 2_100_000)], ["little", "big"]),
    ],
)
def test_cores_of_which_little_is_known_are_in_no_cluster_by_guess(
    kinds: list[tuple[int, str | None, int | None]], names: list[str | None]
) -> None:
    found = sorted(clusters(phone(*kinds)), key=lambda cluster: cluster.cpus)
    assert [cluster.name for cluster in found] == names
    assert [len(cluster.cpus) for cluster in found] == [count for count, *_ in kinds]


def test_a_device_that_tells_no_cores_has_no_clusters() -> None:
    assert clusters(phone()) == ()


def test_a_cluster_is_found_by_its_cpu() -> None:
    found = clusters(PRIME)
    assert [str(cluster_of(cpu, found)) for cpu in (0, 6, 7)] == ["little (CPUs 0-3)", "mid (CPUs 4-6)", "big (CPU 7)"]
    assert cluster_of(8, found) is None
    assert str(clusters(ALIKE)[0]) == "CPUs 0-3"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("big", "big"),
        (" Little ", "little"),
        ("mid", "mid"),
        ("all", "all"),
        ("0-3", "0-3"),
        ("0,2-3", "0,2-3"),
        ("3, 2,0", "0,2-3"),
        ("5-5", "5"),
        ("0-1,1-2", "0-2"),
        ("0xf0", "4-7"),
        ("0XF1", "0,4-7"),
        ("0x8000000000000000", "63"),
        ("63", "63"),
    ],
)
def test_the_same_cpus_are_always_written_the_same(text: str, canonical: str) -> None:
    assert parse_cpus(text) == canonical
    assert parse_cpus(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bog",
        "big,little",
        "3-1",
        "64",
        "0-64",
        "-1",
        "1-",
        "0x",
        "0x0",
        "0xg",
        "0x10000000000000000",
        "1;2",
        "٣",
        "f0",
    ],
)
def test_what_names_no_cpus_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="names no CPUs; give big, mid, little or all") as caught:
        parse_cpus(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        canonical = parse_cpus(text)
    except ValueError as error:
        assert "names no CPUs" in str(error)
    else:
        assert parse_cpus(canonical) == canonical


@given(st.sets(st.integers(0, 63), min_size=1))
def test_lists_masks_and_texts_say_the_same(cpus: set[int]) -> None:
    text = as_ranges(cpus)
    assert set(cpu_list(text)) == cpus
    mask = cpu_mask(text, phone((64, "Cortex-A55", 1_800_000)))
    assert set(cpus_of(mask)) == cpus
    assert parse_cpus(hex(mask)) == text


@pytest.mark.parametrize(
    ("info", "words", "mask"),
    [
        (PRIME, "little", 0x0F),
        (PRIME, "mid", 0x70),
        (PRIME, "big", 0x80),
        (PRIME, "all", 0xFF),
        (PRIME, "0xf0", 0xF0),
        (PRIME, "0,6-7", 0xC1),
        (ALIKE, "little", 0x0F),
        (ALIKE, "big", 0x0F),
        (ALIKE, "all", 0x0F),
        (FOUR, "mid", 0x1C),
        (UNTOLD, "all", 0xFF),
        (UNTOLD, "4-7", 0xF0),
        (phone(), "0-3", 0x0F),  # it tells no cores: the runner will say whether they are there
    ],
)
def test_words_become_the_mask_of_the_device(info: DeviceInfo, words: str, mask: int) -> None:
    assert cpu_mask(words, info) == mask


@pytest.mark.parametrize(
    ("info", "words", "line"),
    [
        (BIG_LITTLE, "6-9", r"ABC: there is no CPU 8-9; it has little \(CPUs 0-3\), big \(CPUs 4-7\)"),
        (ALIKE, "0x10", r"ABC: there is no CPU 4; it has CPUs 0-3"),
        (BIG_LITTLE, "mid", r"ABC: it has no mid CPUs; it has little \(CPUs 0-3\), big \(CPUs 4-7\)"),
        (ALIKE, "mid", r"ABC: it has no mid CPUs; it has CPUs 0-3"),
        (UNTOLD, "big", r"does not tell which of its CPUs are big; give numbers: it has CPUs 0-3, CPUs 4-7"),
        (phone(), "big", r"does not tell its CPUs; give --cpus numbers, not 'big'"),
    ],
)
def test_cpus_that_are_not_there_are_refused_with_those_that_are(info: DeviceInfo, words: str, line: str) -> None:
    with pytest.raises(NoSuchCpu, match=line):
        cpu_mask(words, info)


@pytest.mark.parametrize(
    ("words", "online", "mask"),
    [
        ("all", range(8), 0xFF),
        ("all", (0, 1, 7), 0x83),
        ("big", (0, 5, 6), 0x60),
        ("little", (3,), 0x08),
        ("0-3", range(4), 0x0F),
        ("all", None, 0xFF),
    ],
)
def test_a_word_means_those_of_its_cpus_that_are_switched_on(words: str, online: Collection[int], mask: int) -> None:
    assert cpu_mask(words, BIG_LITTLE, online) == mask


@pytest.mark.parametrize(
    ("words", "online", "line"),
    [
        ("big", (0, 1, 3), "ABC: CPUs 4-7 of --cpus big are switched off (on: 0-1,3); name others, or keep"),
        ("3", (0, 1), "ABC: CPU 3 of --cpus 3 is switched off (on: 0-1)"),
        ("0x0f", (0, 2), "ABC: CPUs 1,3 of --cpus 0x0f are switched off (on: 0,2)"),
    ],
)
def test_cpus_that_are_named_and_switched_off_are_refused_in_one_line(
    words: str, online: Collection[int], line: str
) -> None:
    with pytest.raises(NoSuchCpu, match=re.escape(line)) as caught:
        cpu_mask(words, BIG_LITTLE, online)
    assert "\n" not in str(caught.value)
