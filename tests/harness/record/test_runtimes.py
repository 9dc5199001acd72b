"""A runtime is one entry: a trivial one is registered and measured with, and nothing else is touched."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from device.bundle import Build
from export.artifact import PRECISIONS
from export.formats import Format
from harness.cli.options import ALL, Names, not_made
from harness.record import journal
from harness.record.runtimes import CPU, RUNTIMES, Provider, Runtime, formats, offered
from harness.record.units import NOTHING
from harness.run import main
from toolchain.tensors import Port

#: A runtime that computes nothing: its model is the answer, in text.
ENGINE = """
#include <fstream>

#include "engine.hpp"

namespace tenpass {
namespace {

class Parrot final : public Engine {
 public:
  std::string name() const override { return "parrot"; }
  std::string version() const override { return "7"; }
  std::vector<std::string> providers() const override { return {"CPU"}; }

  void load(const std::vector<std::string>& model_files, int, const std::string& provider) override {
    require_cpu(provider, "the parrot");
    std::ifstream file(model_files.front());
    for (float value; file >> value;) answer_.push_back(value);
    if (answer_.empty()) throw Failure(Status::bad_model, "there is no answer in it");
  }

  void set_inputs(const std::vector<Tensor>& inputs) override { the_one_float32(inputs, "the parrot"); }

  void run() override { said_ = answer_; }

  std::vector<OutputView> outputs() override {
    const Shape shape{1, static_cast<std::int64_t>(said_.size())};
    return {{ElementType::float32, shape, said_.data(), said_.size() * sizeof(float)}};
  }

 private:
  std::vector<float> answer_, said_;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Parrot>(); }

}  // namespace tenpass
"""


def answer_of(source: Path, folder: Path) -> dict[str, int]:
    """Converts an ONNX file: runs it once, for the inputs that every export of the registry is verified with."""
    from export import inputs, verify

    values = inputs.draw([Port("float32", (1, 3, 64, 64), "input")])["input"]
    np.savetxt(folder / "answer.txt", verify.run_onnx(source, values).ravel())
    return {"Say": 1}


@pytest.fixture
def parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    engine = tmp_path / "parrot.cpp"
    engine.write_text(ENGINE)
    form = Format(
        name="parrot",
        what="Parrot",
        opset=13,
        files=("answer.txt",),
        convert=answer_of,
        run=lambda folder, _inputs: [np.loadtxt(folder / "answer.txt", dtype=np.float32)[np.newaxis]],
    )
    entry = Runtime(
        name="parrot",
        title="Parrot",
        providers={CPU: Provider("CPU", Build("parrot", engine, version=lambda _abi: "7"))},
        formats={"answer": form},
        files_title="Parrot's answer",
    )
    monkeypatch.setitem(RUNTIMES, entry.name, entry)
    return entry


def test_a_runtime_is_one_entry(parrot: Runtime, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--device", "host", "--models", "clcnet-tiny", "--runtime", "parrot,onnxruntime", "--passes", "3"]
    ended = CliRunner().invoke(main, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.stderr
    said, computed = journal.read(out)
    assert said.id == "clcnet-tiny-grouped-parrot-t1"
    assert computed.id == "clcnet-tiny-grouped-onnxruntime-t1"
    for record in (said, computed):
        assert record.status == "ok"
        assert record.check is not None
        assert record.check.passed
    assert said.measurement is not None
    assert (said.measurement.runtime, said.measurement.runtime_version) == ("parrot", "7")
    assert len(said.measurement.samples) == 3
    assert said.artifact is not None
    assert said.artifact.op_counts == {"Say": 1}
    check_report(out)


def check_report(out: Path) -> None:
    lines = [line for line in (out / "table6.md").read_text().splitlines() if line.startswith("|")]
    heading, _, said, computed = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    first, second = dict(zip(heading, said, strict=True)), dict(zip(heading, computed, strict=True))
    assert first["Runtime"] == "parrot 7"
    assert re.fullmatch(r"[1-9][\d.]* (bytes|kB)", first["Parrot's answer"])
    assert second["Parrot's answer"] == NOTHING
    assert "parrot 7" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--igc", "fused"], "--igc fused is for ONNX Runtime alone"),
        (["--precision", "int8"], "Parrot runs no int8 here"),
        (["--provider", "xnnpack"], "--provider xnnpack is ONNX Runtime's"),
    ],
)
def test_a_runtime_refuses_what_its_entry_does_not_have(parrot: Runtime, arguments: list[str], words: str) -> None:
    ended = CliRunner().invoke(main, ["--device", "host", "--models", "clcnet-tiny", "--runtime", "parrot", *arguments])
    assert ended.exit_code == 2
    assert words in ended.stderr


def test_entries_do_not_get_in_one_anothers_way() -> None:
    """Builds, formats and runtimes are found by their names, and so are the cases that they make."""
    builds = [one.build for runtime in RUNTIMES.values() for one in runtime.providers.values() if one.build]
    assert len({build.name for build in builds}) == len(builds)
    assert len(formats()) == sum(len(runtime.formats) for runtime in RUNTIMES.values())
    assert sum(runtime.is_papers for runtime in RUNTIMES.values()) == 1


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=RUNTIMES)
def test_every_entry_says_what_a_user_may_ask(runtime: Runtime) -> None:
    assert next(iter(runtime.providers)) == CPU
    assert runtime.build().engine.exists()
    assert all(one.build or one.refusal for one in runtime.providers.values())
    assert (len(runtime.formats) > 1) == (runtime.option is not None)
    assert bool(runtime.formats) == (runtime in offered())
    assert all(form.marks for form in [*runtime.formats.values()][1:])
    assert all(set(form.precisions) <= set(PRECISIONS) for form in runtime.formats.values())


@pytest.mark.parametrize("named", ["all", "all,parrot", "parrot", "onnxruntime,all"])
@pytest.mark.parametrize("is_made", [True, False, None])
def test_all_leaves_out_what_takes_minutes_to_make_and_says_so(
    named: str,
    is_made: bool | None,
    parrot: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in RUNTIMES:
        monkeypatch.setitem(RUNTIMES, name, replace(RUNTIMES[name], is_made=None))
    asks = None if is_made is None else lambda: is_made
    monkeypatch.setitem(RUNTIMES, parrot.name, replace(parrot, is_made=asks))
    everything = [runtime.name for runtime in offered()]
    chosen = Names([*everything, ALL], not_made).convert(named, None, None)
    said = capsys.readouterr().err
    is_left_out = is_made is False and named in ("all", "onnxruntime,all")
    due = {"parrot"} if named == "parrot" else set(everything) - ({"parrot"} if is_left_out else set())
    assert set(chosen) == due
    assert ("--runtime all: Parrot is left out" in said) == is_left_out
    assert said.count("\n") == is_left_out
