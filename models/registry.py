"""Every network by name. Importing this imports no torch."""

from __future__ import annotations

import difflib

from models import paper
from models.paper import PAPER_TABLE5, PAPER_TABLE6
from models.spec import ModelError, ModelSpec

__all__ = ["PAPER_TABLE5", "PAPER_TABLE6", "REGISTRY", "get", "names"]

IMAGENET = (1, 3, 224, 224)
CLCNET = "Zhang, clcNet: Improving the Efficiency of Convolutional Neural Network using Channel Local Convolutions"


def _spec(
    name: str,
    title: str,
    family: str,
    factory: str,
    source: str,
    *,
    input_shape: tuple[int, int, int, int] = IMAGENET,
) -> ModelSpec:
    figures = paper.figures(name)
    note = paper.note(name) or ("" if figures else "Not in the paper.")
    return ModelSpec(name, title, family, factory, input_shape, source, paper=figures, note=note)


#: In the order of Table 6; then what is not in it: of Table 5, of Table 4, of none.
REGISTRY: tuple[ModelSpec, ...] = (
    _spec("mobilenet", "1.0 MobileNet-224", "mobilenet", "models.mobilenet:mobilenet", "arXiv:1704.04861"),
    _spec("shufflenet", "ShuffleNet 2x", "shufflenet", "models.shufflenet:shufflenet", "arXiv:1707.01083"),
    _spec("clcnet-a", "clcNet-A", "clcnet", "models.clcnet:clcnet_a", CLCNET),
    _spec("clcnet-b", "clcNet-B", "clcnet", "models.clcnet:clcnet_b", CLCNET),
    _spec("googlenet", "GoogLeNet", "googlenet", "models.googlenet:googlenet", "arXiv:1409.4842"),
    _spec("clcnet-ap", "clcNet-Ap", "clcnet", "models.clcnet:clcnet_ap", f"{CLCNET}, section 5.2"),
    _spec(
        "clcnet-tiny",
        "clcNet-tiny (not in the paper)",
        "clcnet",
        "models.clcnet:clcnet_tiny",
        "this project",
        input_shape=(1, 3, 64, 64),
    ),
)


def names() -> tuple[str, ...]:
    """The names of all networks, in the registry's order."""
    return tuple(spec.name for spec in REGISTRY)


def get(name: str) -> ModelSpec:
    """The network called `name`. Raises ModelError that lists the known names and the nearest."""
    for spec in REGISTRY:
        if spec.name == name:
            return spec
    near = difflib.get_close_matches(name.lower().replace("_", "-"), names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ModelError(f"unknown model {name!r}: {hint}known are {', '.join(names())}")
