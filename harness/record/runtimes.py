"""The runtimes that networks are measured in: all that is known of one is its entry here.

To add one: its engine (device/runner/src/engines/), its format (a folder of export/, unless it loads ONNX files), and
an entry. tests/harness/record/test_runtimes.py does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from device import bundle
from device.bundle import Build, OnStep
from device.errors import BundleError, ModelRefused
from device.records import Bundle
from export.caffe2.convert import DEPTHWISE_3X3
from export.caffe2.formats import AS_CONVERTED, DEPTHWISE
from export.formats import ONNX, Format
from export.ncnn.convert import ENGINE as NCNN_ENGINE
from export.ncnn.formats import NCNN as NCNN_FILES
from models import paper
from toolchain import caffe2, clc, ncnn, wheels, xnnpack
from toolchain import compile as compiling
from toolchain.compile import ENGINES

#: The execution provider that every runtime has.
CPU = "cpu"

#: The newest operator set that a release of ONNX Runtime takes, as it says itself when it refuses a newer one; others
#: take all that can be written here.
_NEWEST_OPSETS = {"1.21.0": 22, "1.28.2": 26}

#: The runtime that computes nothing, with which the harness measures itself.
NULL = "null"


@dataclass(frozen=True)
class Provider:
    """An execution provider: what the runtime calls it, and the build that has it, or why there is none."""

    title: str
    build: Build | None
    refusal: str = ""


@dataclass(frozen=True)
class FormatOption:
    """The option with which a user chooses among the formats of a runtime: `--RUNTIME-name`."""

    name: str
    help: str


@dataclass(frozen=True)
class Runtime:
    """What runs networks on devices.

    `providers` are its execution providers by what the user calls them (those of PROTOCOL.md), CPU's first. `formats`
    are what it loads, by what the user calls them in `option`, the usual one first. `files_title` is the heading over
    the size of its files, where these are not the ONNX file. One that takes no own models leaves out the user's ONNX
    files; one that is not offered is for the harness itself. `is_made` is there where making it takes minutes, and says
    whether that was done: before, only who asks for it by its name gets it.
    """

    name: str
    title: str
    providers: Mapping[str, Provider]
    formats: Mapping[str, Format] = field(default_factory=dict)
    option: FormatOption | None = None
    files_title: str | None = None
    takes_own_models: bool = False
    is_offered: bool = True
    is_made: Callable[[], bool] | None = None

    @property
    def is_papers(self) -> bool:
        """Whether the clcNet paper ran it, so that the paper's figures stand beside its rows."""
        return self.title == paper.table6_device().runtime

    def build(self, provider: str = CPU) -> Build:
        """The build that has the execution provider. Raises BundleError where none has it."""
        found = self.providers.get(provider)
        if found is None:
            raise BundleError(f"no bundle of {self.name} has an execution provider {provider}; use --provider {CPU}")
        if found.build is None:
            raise BundleError(found.refusal)
        return found.build

    def choice(self, format_name: str) -> str | None:
        """What the user calls a format; None for the usual one, which goes without saying."""
        return next((choice for choice, form in [*self.formats.items()][1:] if form.name == format_name), None)


_ONNXRUNTIME_CPU = Build(
    name="onnxruntime",
    engine=ENGINES / "onnxruntime.cpp",
    version=lambda abi: wheels.pin(abi).runtime_version,
    pins=lambda abi: wheels.pin(abi).library_sha256,
    libraries=lambda abi: {wheels.LIBRARY: wheels.library(abi), **_operators(abi)},
    computes=(wheels.LIBRARY,),
)

_ONNXRUNTIME_XNNPACK = Build(
    name="onnxruntime-xnnpack",
    engine=ENGINES / "onnxruntime.cpp",
    version=lambda _abi: xnnpack.VERSION,
    pins=xnnpack.recipe,
    libraries=lambda abi: {**xnnpack.libraries(abi), **_operators(abi)},
    computes=(xnnpack.LIBRARY, xnnpack.KERNELS),
    abis=tuple(xnnpack.PACKAGES),
)


def _operators(abi: str) -> dict[str, Path]:
    """Our operator of ONNX Runtime's."""
    return {clc.LIBRARY: clc.library(compiling.toolchain(abi))}


ONNXRUNTIME = Runtime(
    name="onnxruntime",
    title="ONNX Runtime",
    providers={
        CPU: Provider("CPUExecutionProvider", _ONNXRUNTIME_CPU),
        "xnnpack": Provider("XnnpackExecutionProvider", _ONNXRUNTIME_XNNPACK),
        "nnapi": Provider(
            "NnapiExecutionProvider",
            None,
            "no bundle has the NNAPI execution provider: it needs ONNX Runtime built for Android's own libc (bionic), "
            "which ours, made to run anywhere, is not; use --provider cpu or xnnpack",
        ),
    },
    formats={"onnx": ONNX},
    takes_own_models=True,
)

CAFFE2 = Runtime(
    name="caffe2",
    title="Caffe2",
    providers={
        CPU: Provider(
            "CPU",
            Build(
                name="caffe2",
                engine=ENGINES / "caffe2.cpp",
                version=lambda _abi: caffe2.VERSION,
                pins=caffe2.recipe,
                libraries=caffe2.libraries,
                computes=(caffe2.ROOT,),
                settings=caffe2.cmake_settings,
            ),
        )
    },
    formats={"as-converted": AS_CONVERTED, DEPTHWISE_3X3: DEPTHWISE},
    option=FormatOption("convolution", "Caffe2's engine for 3x3 depthwise convolutions."),
    files_title="Caffe2 nets",
)

NCNN = Runtime(
    name="ncnn",
    title="ncnn",
    providers={
        CPU: Provider(
            "CPU",
            Build(
                name="ncnn",
                engine=NCNN_ENGINE,
                version=lambda _abi: ncnn.VERSION,
                pins=ncnn.recipe,
                libraries=lambda abi: {ncnn.LIBRARY: ncnn.library(abi)},
                computes=(ncnn.LIBRARY,),
                settings=ncnn.cmake_settings,
                options=ncnn.OPTIONS,
            ),
        )
    },
    formats={"ncnn": NCNN_FILES},
    files_title="ncnn files",
    takes_own_models=True,
    is_made=ncnn.is_built,
)

_NULL = Runtime(
    name=NULL,
    title="nothing",
    providers={CPU: Provider("CPU", Build(NULL, ENGINES / "null.cpp", version=lambda _abi: "1"))},
    is_offered=False,
)

#: By name, the usual one first.
RUNTIMES = {runtime.name: runtime for runtime in (ONNXRUNTIME, CAFFE2, NCNN, _NULL)}


def get(name: str) -> Runtime:
    """The runtime of that name. Raises BundleError that lists those that there are."""
    try:
        return RUNTIMES[name]
    except KeyError:
        raise BundleError(f"there is no runtime {name}; there are {', '.join(RUNTIMES)}") from None


def offered() -> list[Runtime]:
    """Those that a user may measure with."""
    return [runtime for runtime in RUNTIMES.values() if runtime.is_offered]


def left_out() -> list[Runtime]:
    """Those offered that `all` does not mean here: they would take minutes to make."""
    return [runtime for runtime in offered() if runtime.is_made is not None and not runtime.is_made()]


def formats() -> dict[str, Format]:
    """Everything that an export can make, by name."""
    return {form.name: form for runtime in RUNTIMES.values() for form in runtime.formats.values()}


def providers() -> list[str]:
    """The execution providers that some runtime has, by what the user calls them."""
    return list(dict.fromkeys(name for runtime in offered() for name in runtime.providers))


def files_titles() -> dict[str, str]:
    """The heading over the size of a runtime's files, by its name, where they are not the ONNX file."""
    return {runtime.name: runtime.files_title for runtime in RUNTIMES.values() if runtime.files_title}


def is_papers(name: str) -> bool:
    """Whether the paper ran this runtime."""
    return name in RUNTIMES and RUNTIMES[name].is_papers


def require_opset(used: Bundle, provider: str, opset: int) -> None:
    """Raises ModelRefused for a model of an operator set that is too new for the runtime of this bundle."""
    newest = _NEWEST_OPSETS.get(used.runtime_version, opset) if used.runtime.startswith(ONNXRUNTIME.name) else opset
    if opset > newest:
        otherwise = f", or take --provider {CPU}, whose runtime may be newer" if provider != CPU else ""
        raise ModelRefused(
            f"it is of operator set {opset}, and {ONNXRUNTIME.title} {used.runtime_version}, which is the one for "
            f"{used.abi} with the provider {provider}, takes {newest} at most: export it with operator set {newest} or "
            f"older{otherwise}"
        )


def build_bundle(
    abi: str, runtime: str = ONNXRUNTIME.name, provider: str = CPU, on_step: OnStep = lambda _: None
) -> Bundle:
    """The bundle with that runtime and execution provider, built first where need be. Raises BundleError."""
    return bundle.build(abi, get(runtime).build(provider), on_step)
