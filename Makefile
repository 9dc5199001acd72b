# `make help` lists the targets. Everything downloaded or built goes below build/ (and .venv), and is reused.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
BOARD ?= mt6580
BASE ?= results/baseline
NEW ?=

export PYTHON
export ORT_DISABLE_TELEMETRY = 1

.DEFAULT_GOAL := help
.PHONY: help setup parts parts-onnxruntime parts-caffe2 parts-boards parts-ncnn bench compare history table5 igc-study selfcheck test test-all check export board docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='...' passes options on: make bench ARGS='--models clcnet-a,mobilenet --passes 20'"

setup: $(VENV)/.installed parts ## install what is missing, build the runners and the emulated boards

bench: setup ## the main job: Table 6 on the attached phone, or on an emulated Cortex-A7 when there is none
	@$(PY) -m harness.run --runtime onnxruntime,caffe2 $(ARGS)

compare: $(VENV)/.installed ## is a run slower than another? NEW=results/RUN, and BASE=results/OTHER for another than the baseline
	@$(PY) -m harness compare $(BASE) $(NEW) $(ARGS)

history: $(VENV)/.installed ## how cases moved over all runs in results/: ARGS='FOLDERS --out FOLDER' for others, and a plot
	@$(PY) -m harness history $(or $(ARGS),results)

table5: $(VENV)/.installed ## Table 5: counted costs beside the paper's figures
	@$(PY) -m harness study table5 $(ARGS)

igc-study: setup ## interlaced grouped convolution three ways, on this machine and two boards: the kernel's own report
	@$(PY) -m harness study kernel $(ARGS)

selfcheck: setup ## what the harness itself adds to a time: ARGS='--device board:cortex-a7' for another device
	@$(PY) -m harness selfcheck $(ARGS)

test: setup check ## all checks, and the tests but for those that take long (it says which it leaves out)
	@$(PY) -m pytest $(ARGS)

test-all: setup parts-ncnn check ## all checks and all tests: before a change is finished, and each night
	@$(PY) -m pytest --all $(ARGS)

check: $(VENV)/.installed ## lint, format, types, import layers, CI workflows
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/zizmor --offline --quiet .github/workflows

export: $(VENV)/.installed ## PyTorch to verified ONNX files and Caffe2 nets, for every network
	@$(PY) -m harness export $(ARGS)

board: setup ## boot an emulated board and leave it up for adb and ssh (BOARD=bcm2837b0 for another)
	@$(PY) -m harness board $(BOARD)

docs: $(VENV)/.installed ## remake what the documents show of help texts, tables and records
	@$(PY) setup/docs.py

clean: ## remove everything downloaded or built; results/ stays
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The parts say themselves, and quickly, whether they are up to date; each fetches while another compiles.
parts: $(VENV)/.installed
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=none parts-onnxruntime parts-caffe2 parts-boards

parts-onnxruntime:
	@$(PY) -m harness.cli.bundles
	@$(PY) -m harness.cli.bundles --runtime null
	@$(PY) -m harness.cli.bundles --provider xnnpack || echo "setup: XNNPACK is left out; all that needs only the CPU's provider works"

parts-caffe2:
	@$(PY) -m harness.cli.bundles --runtime caffe2 || echo "setup: Caffe2 is left out; all that needs only ONNX Runtime works"

# Not one of the parts: it takes some minutes, and is made when somebody asks for it.
parts-ncnn: setup
	@$(PY) -m harness.cli.bundles --runtime ncnn

parts-boards:
	@$(PY) -m device.board.image

$(VENV)/.installed: pyproject.toml constraints.txt setup/debian-packages.txt
	@setup/debian-packages.sh
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "setup: Python packages into $(VENV) (constraints.txt)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt setuptools pbr
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --use-pep517 --editable '.[dev,farm]'
	@touch $@
