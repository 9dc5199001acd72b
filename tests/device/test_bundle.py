"""Bundles: what is in them, that they are made once, and that damage to them does not last."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from device import bundle as bundles
from device.errors import BundleError
from device.records import Bundle
from harness.cli.bundles import main
from harness.record.runtimes import NULL, RUNTIMES, build_bundle, get
from toolchain import compile as compiling
from toolchain import elf, wheels, xnnpack
from toolchain.compile import TOOLCHAINS
from toolchain.errors import BuildError
from toolchain.files import File, local_file
from toolchain.wheels import Sdist

ABIS = list(TOOLCHAINS)
MACHINE = {"armeabi-v7a": "ARM", "arm64-v8a": "AArch64", "x86_64": "Advanced Micro Devices X86-64"}


@pytest.fixture(scope="module", params=ABIS)
def built(request: pytest.FixtureRequest) -> Bundle:
    return build_bundle(request.param)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bundles of this test's own, which it may break."""
    monkeypatch.setattr(bundles, "FOLDER", tmp_path / "bundles")
    return tmp_path / "bundles"


def readelf(option: str, file: File) -> str:
    done = subprocess.run(["readelf", "-W", option, file.path], capture_output=True, text=True, check=True)
    return done.stdout


def needed(file: File) -> set[str]:
    lines = [line for line in readelf("--dynamic", file).splitlines() if "(NEEDED)" in line]
    return {line.split("[")[1].rstrip("]") for line in lines}


# --- what is in a bundle ------------------------------------------------------------------------------


def test_what_we_build_starts_on_pages_of_up_to_64_kb_and_a_64_bit_arm_bundle_whole(built: Bundle) -> None:
    largest = {file.name: elf.largest_page_bytes(file.path) for file in built.files}
    told = {
        file.name: min(int(line.split()[-1], 16) for line in readelf("-l", file).splitlines() if " LOAD " in line)
        for file in built.files
    }
    assert largest == told  # as readelf has it
    assert {largest[built.runner], largest["libtenpass_clc.so"]} == {64 * 1024}
    if built.abi == "arm64-v8a":
        bundles.require_page_size(built, 64 * 1024)


@pytest.mark.parametrize("bits", [32, 64])
@given(segments=st.lists(st.tuples(st.integers(0, 7), st.integers(12, 16)), max_size=6), page=st.integers(12, 16))
def test_a_bundle_is_refused_where_a_segment_is_aligned_for_less_than_the_devices_pages(
    bits: int, segments: list[tuple[int, int]], page: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "library.so").write_bytes(an_elf(bits, [(kind, 1 << align) for kind, align in segments]))
    (folder / "notes.txt").write_text("no ELF file, and fit for any device")
    made = Bundle("arm64-v8a", "onnxruntime", "1", "runner", tuple(map(local_file, folder.iterdir())))
    aligned = [align for kind, align in segments if kind == LOAD]
    if min(aligned, default=16) >= page:
        bundles.require_page_size(made, 1 << page)
    else:
        page_kib, aligned_kib = 1 << page - 10, 1 << min(aligned) - 10
        why = f"pages of {page_kib} KB: its library.so is made for pages of at most {aligned_kib} KB"
        with pytest.raises(BundleError, match=why):
            bundles.require_page_size(made, 1 << page)
    bundles.require_page_size(made, None)


LOAD = 1


def an_elf(bits: int, segments: list[tuple[int, int]]) -> bytes:
    """The header of an ELF file and its table of segments, each a type and an alignment (elf(5))."""
    entry = struct.Struct("<I44xQ" if bits == 64 else "<I24xI")
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    rest = "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH"
    fields = (3, 0, 1, 0, 64, 0, 0, 64, entry.size, len(segments), 0, 0, 0)
    header = (ident + struct.pack(rest, *fields)).ljust(64, b"\0")
    return header + b"".join(entry.pack(*segment) for segment in segments)


def test_a_bundle_holds_all_that_any_of_its_parts_needs(built: Bundle) -> None:
    names = {file.name for file in built.files}
    assert all(needed(file) <= names for file in built.files)
    assert "libc.so.6" in set.union(*(needed(file) for file in built.files))  # so readelf was understood


def test_a_bundle_holds_the_runner_the_loader_and_the_runtime(built: Bundle) -> None:
    names = {file.name for file in built.files}
    assert {"tenpass-onnxruntime", TOOLCHAINS[built.abi].loader, "libonnxruntime.so"} <= names
    assert len(names) == len(built.files) <= 12


def test_every_part_is_of_the_bundles_abi(built: Bundle) -> None:
    for file in built.files:
        assert f"Machine:                           {MACHINE[built.abi]}\n" in readelf("--file-header", file)


def test_no_part_carries_symbols_that_nothing_needs(built: Bundle) -> None:
    for file in built.files:
        assert ".symtab" not in readelf("--section-headers", file)


def test_the_runner_carries_no_path_of_the_machine_that_built_it(built: Bundle) -> None:
    [runner] = [file for file in built.files if file.name == "tenpass-onnxruntime"]
    assert str(compiling.RUNNER.parent.parent).encode() not in runner.path.read_bytes()


def test_files_are_described_as_they_are_in_one_folder(built: Bundle) -> None:
    [folder] = {file.path.parent for file in built.files}
    for file in built.files:
        content = file.path.read_bytes()
        assert file.path == folder / file.name
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)
    assert {path.name for path in folder.iterdir()} == {file.name for file in built.files} | {"bundle.json"}


def test_the_command_starts_the_runner_with_the_bundles_own_loader(built: Bundle) -> None:
    loader = TOOLCHAINS[built.abi].loader
    assert bundles.command(built) == [f"./{loader}", "--library-path", ".", "./tenpass-onnxruntime"]
    assert bundles.command(built, "/data/b")[1:] == ["--library-path", "/data/b", "/data/b/tenpass-onnxruntime"]


@pytest.mark.parametrize(
    ("abi", "runtime", "provider", "expected"),
    [
        ("armeabi-v7a", "onnxruntime", "cpu", ("neon",)),
        ("arm64-v8a", "onnxruntime", "cpu", ("neon", "dotprod", "fp16", "i8mm", "bf16", "sve")),
        ("x86_64", "onnxruntime", "cpu", ("avx2", "avx512f")),
        ("armeabi-v7a", "caffe2", "cpu", ("neon",)),
        ("arm64-v8a", "caffe2", "cpu", ("neon",)),
        ("x86_64", "caffe2", "cpu", ("avx2",)),
        ("armeabi-v7a", "onnxruntime", "xnnpack", ("neon",)),
        ("x86_64", "onnxruntime", "xnnpack", ("avx2", "avx512f")),
        ("x86_64", "null", "cpu", ()),
    ],
)
def test_a_bundle_says_which_vector_instructions_its_runtime_has_code_for(
    abi: str, runtime: str, provider: str, expected: tuple[str, ...]
) -> None:
    assert build_bundle(abi, runtime, provider).simd == expected
    assert build_bundle(abi, runtime, provider).simd == expected  # also when it is read back


@pytest.mark.parametrize("abi", ABIS)
def test_the_null_runtime_needs_nothing_but_the_compilers_libraries(abi: str) -> None:
    built = build_bundle(abi, NULL)
    assert (built.runtime, built.runtime_version) == ("null", "1")
    assert built.size_bytes < 10_000_000
    assert {file.name for file in built.files} == {
        "tenpass-null",
        TOOLCHAINS[abi].loader,
        "libc.so.6",
        "libgcc_s.so.1",
        "libm.so.6",
        "libstdc++.so.6",
    }


@pytest.mark.parametrize("abi", xnnpack.PACKAGES)
def test_the_bundle_with_xnnpack_is_whole_with_a_libc_and_loader_that_belong_together(abi: str) -> None:
    built = build_bundle(abi, "onnxruntime", "xnnpack")
    assert (built.runtime, built.runtime_version) == ("onnxruntime-xnnpack", xnnpack.VERSION)
    files = {file.name: file for file in built.files}
    assert {"tenpass-onnxruntime", "libonnxruntime.so", xnnpack.KERNELS, "libtenpass_clc.so"} <= files.keys()
    for file in built.files:
        assert needed(file) <= files.keys()
        assert f"Machine:                           {MACHINE[abi]}\n" in readelf("--file-header", file)
    loader = TOOLCHAINS[abi].loader
    carried = {name: path for name, path in xnnpack.libraries(abi).items() if name in (loader, "libc.so.6")}
    assert carried.keys() == {loader, "libc.so.6"}
    assert len({path.parent for path in carried.values()}) == 1
    for name, path in carried.items():
        assert build_id(File(name, "", 0, path)) == build_id(files[name])
    assert built.size_bytes < 40_000_000


def build_id(file: File) -> str:
    [found] = [line for line in readelf("--notes", file).splitlines() if "Build ID: " in line]
    return found


def test_there_is_no_bundle_with_xnnpack_for_an_abi_whose_build_many_a_core_cannot_run() -> None:
    with pytest.raises(BundleError, match="no ONNX Runtime with XNNPACK for ABI arm64-v8a, only for armeabi-v7a"):
        build_bundle("arm64-v8a", "onnxruntime", "xnnpack")


def test_the_cpus_provider_is_every_runtimes_own_build() -> None:
    for name, runtime in RUNTIMES.items():
        assert runtime.build().name == runtime.name == name


@pytest.mark.parametrize(
    ("runtime", "provider", "says"),
    [
        ("onnxruntime", "nnapi", "ONNX Runtime built for Android's own libc"),
        ("caffe2", "xnnpack", "no bundle of caffe2 has an execution provider xnnpack"),
        ("caffe2", "nnapi", "no bundle of caffe2 has an execution provider nnapi"),
        ("onnxruntime", "cuda", "no bundle of onnxruntime has an execution provider cuda"),
    ],
)
def test_a_provider_that_no_bundle_has_is_refused(runtime: str, provider: str, says: str) -> None:
    with pytest.raises(BundleError, match=f"{says}.*use --provider cpu"):
        get(runtime).build(provider)


# --- made once, mended when broken --------------------------------------------------------------------


def test_a_second_call_does_nothing(own_folder: Path) -> None:
    abi = compiling.native().abi
    steps: list[str] = []
    first = build_bundle(abi, on_step=steps.append)
    assert steps
    steps.clear()
    assert build_bundle(abi, on_step=steps.append) == first
    assert steps == []


@pytest.mark.parametrize("damage", ["one byte", "cut short", "file gone", "no index", "bad index"])
def test_a_damaged_bundle_is_noticed_and_made_again(own_folder: Path, damage: str) -> None:
    abi = compiling.native().abi
    first = build_bundle(abi)
    path = first.files[-1].path
    content = path.read_bytes()
    match damage:
        case "one byte":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut short":
            path.write_bytes(content[:-1])
        case "file gone":
            path.unlink()
        case "no index":
            (path.parent / "bundle.json").unlink()
        case "bad index":
            (path.parent / "bundle.json").write_text('{"recipe": 1')
    assert build_bundle(abi) == first
    assert path.read_bytes() == content


def test_a_changed_pin_makes_a_new_bundle(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abi = compiling.native().abi
    build_bundle(abi)
    steps: list[str] = []
    monkeypatch.setattr(compiling, "header_pins", lambda: "other headers")
    build_bundle(abi, on_step=steps.append)
    assert steps


def test_a_build_that_fails_leaves_the_bundle_that_was_there(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abi = compiling.native().abi
    first = build_bundle(abi)

    def no_library(chain: compiling.Toolchain, name: str) -> Path:
        raise BuildError(f"no {name}")

    monkeypatch.setattr(compiling, "header_pins", lambda: "other headers")
    monkeypatch.setattr(compiling, "library", no_library)
    with pytest.raises(BundleError, match="no lib"):
        build_bundle(abi)
    assert [path.name for path in own_folder.iterdir() if path.is_dir()] == [f"onnxruntime-{abi}"]
    assert all(file.path.stat().st_size == file.size_bytes for file in first.files)


# --- what cannot be had -------------------------------------------------------------------------------


def test_an_unknown_abi_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BundleError, match=r"riscv64; there are armeabi-v7a, arm64-v8a, x86_64"):
        build_bundle("riscv64")


def test_an_unknown_runtime_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BundleError, match=r"no runtime tflite; there are onnxruntime, caffe2"):
        build_bundle("x86_64", "tflite")


def test_a_missing_compiler_is_named_with_its_debian_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"make setup.*Debian package g\+\+-arm-linux-gnueabihf"):
        build_bundle("armeabi-v7a")


def test_the_command_line_says_in_one_line_what_is_wrong() -> None:
    ended = CliRunner().invoke(main, ["--abi", "mips"])
    assert ended.exit_code == 1
    assert ended.output.startswith("bundle: there is no bundle for ABI mips")
    assert ended.output.count("\n") == 1


# --- the wheels that ONNX Runtime comes from ----------------------------------------------------------

WHEEL = "onnxruntime-9.9-cp311-cp311-manylinux_2_28_x86_64.whl"
MEMBER = "onnxruntime/capi/libonnxruntime.so.9.9"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip can take wheels from, with one wheel in it and a lock that pins that wheel."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    info = "onnxruntime-9.9.dist-info"
    members = {
        MEMBER: "a library",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
        "Tag: cp311-cp311-manylinux_2_28_x86_64\n",
    }
    record = ""
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
            record += f"{name},sha256={digest},{len(content)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    pin = {
        "project": "onnxruntime",
        "version": "9.9",
        "platform": "manylinux_2_28_x86_64",
        "wheel": WHEEL,
        "wheel_sha256": hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest(),
        "member": MEMBER,
        "library_sha256": hashlib.sha256(b"a library").hexdigest(),
        "runtime_version": "9.9",
    }
    lock = tmp_path / "wheels.lock.json"
    lock.write_text(json.dumps({"x86_64": pin}))
    monkeypatch.setattr(wheels, "LOCK", lock)
    monkeypatch.setattr(wheels, "FOLDER", tmp_path / "wheels")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return folder


def test_the_library_is_fetched_once_and_only_it_is_kept(shelf: Path, tmp_path: Path) -> None:
    library = wheels.library("x86_64")
    assert library.read_text() == "a library"
    (shelf / WHEEL).unlink()
    assert wheels.library("x86_64") == library
    assert [path for path in (tmp_path / "wheels").rglob("*") if path.is_file()] == [library]


def test_a_library_that_was_changed_is_fetched_again_with_a_word(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = wheels.library("x86_64")
    library.write_text("A library")
    assert wheels.library("x86_64").read_text() == "a library"
    assert "sha256 differs" in capsys.readouterr().err


def test_a_wheel_of_other_bytes_is_refused_and_not_kept(shelf: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shelf / WHEEL, "a") as archive:
        archive.writestr("onnxruntime/more.py", "")
    with pytest.raises(BuildError, match=r"is not the pinned file: its sha256 is .* the pin says"):
        wheels.library("x86_64")
    assert not [path for path in (tmp_path / "wheels").rglob("*") if path.is_file()]


def test_a_wheel_that_cannot_be_had_is_named_with_the_setting_to_look_at(shelf: Path) -> None:
    (shelf / WHEEL).unlink()
    with pytest.raises(BuildError, match=rf"cannot get {WHEEL} .*pip config list.*PIP_INDEX_URL") as error:
        wheels.library("x86_64")
    assert "\n" not in str(error.value)


@pytest.fixture
def source(shelf: Path) -> Sdist:
    """A source package on the shelf, which cannot be built."""
    (shelf / "thing-1.0.tar.gz").write_bytes(b"not even an archive")
    sha256 = hashlib.sha256(b"not even an archive").hexdigest()
    return Sdist("thing", "1.0", "thing-1.0.tar.gz", sha256)


def test_a_source_package_is_fetched_as_it_is(source: Sdist, tmp_path: Path) -> None:
    assert wheels.sdist(source, tmp_path).read_bytes() == b"not even an archive"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"sha256": "0" * 64}, r"thing-1\.0\.tar\.gz is not the pinned file: its sha256 is .* the pin says 0000"),
        ({"version": "2.0"}, r"cannot get thing-1\.0\.tar\.gz \(no source of thing 2\.0 there\); .*PIP_INDEX_URL"),
    ],
)
def test_another_source_package_is_refused(source: Sdist, other: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=words) as error:
        wheels.sdist(replace(source, **other), tmp_path)
    assert "\n" not in str(error.value)


def test_an_abi_without_a_wheel_is_refused() -> None:
    with pytest.raises(BuildError, match="no ONNX Runtime is pinned for ABI mips"):
        wheels.pin("mips")
