# Two commands on a fresh machine: `make figures` and `make test`. Both make the environment they need, once.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?= -q --durations=5
FIGURES_ARGS ?=
BENCH_ARGS ?=
SMOKE_ARGS ?=

BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: help figures bench bench-full smoke results test tpu-check lint format types clean
.DELETE_ON_ERROR:

help:
	@echo "make figures   gradient norms of recurrent cells over the lag: figure, table, data"
	@echo "make bench     jaxrnn beside other libraries at two shapes, a few minutes; bench-full: at all, one to two hours"
	@echo "make smoke     a quick look at every application; results: their full runs, some 4.5 hours"
	@echo "make test      the test suite"
	@echo "make tpu-check every fused kernel through the TPU compiler, which needs no TPU; 15 to 25 minutes"
	@echo "make lint      ruff: checks and formatting"
	@echo "make format    ruff: formats the code and mends what it can"
	@echo "make types     pyright"
	@echo "make clean     removes the environment, caches and builds"
	@echo
	@echo "Variables: PYTHON=$(PYTHON)  VENV=$(VENV)  WORKERS=$(WORKERS)  PYTEST_ARGS=\"$(PYTEST_ARGS)\"  FIGURES_ARGS=\"--help\"  BENCH_ARGS=\"--help\""

figures: $(VENV)/.scripts
	$(BIN)/python -m benchmarks.gradient_norms $(FIGURES_ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed --shapes 32x128x128x256 16x512x32x64 --cells LSTM GRU Elman --modes train \
		--out scratch/speed_short $(BENCH_ARGS)

bench-full: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed $(BENCH_ARGS)

smoke: $(VENV)/.applications
	$(BIN)/python -m experiments.everything --smoke $(SMOKE_ARGS)

results: $(VENV)/.applications
	$(BIN)/python -m experiments.everything

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

tpu-check: $(VENV)/.tpu
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS) tests/tpu_compile.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.lint
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	@if [ -e "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf build dist .hypothesis .pytest_cache .ruff_cache
	find benchmarks experiments jaxrnn tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. The stamps make a second call install nothing until pyproject.toml changes.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "jaxrnn needs Python 3.11 or newer; PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.11 ..."; \
		exit 1; }
	@echo "Making the environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv "$(VENV)"
	@touch $@

$(VENV)/.scripts: pyproject.toml | $(VENV)/.python
	@echo "Installing jaxrnn and what its scripts need into $(VENV) (a minute or two)"
	@$(INSTALL) --editable ".[scripts]"
	@touch $@

$(VENV)/.applications: pyproject.toml | $(VENV)/.python
	@echo "Installing jaxrnn and what its applications need into $(VENV) (a minute or two)"
	@$(INSTALL) --editable ".[applications]"
	@touch $@ $(VENV)/.scripts

$(VENV)/.bench: pyproject.toml | $(VENV)/.python
	@echo "Installing jaxrnn and the libraries that it is compared with into $(VENV) (a minute or two)"
	@$(INSTALL) --editable ".[bench]"
	@touch $@ $(VENV)/.scripts

$(VENV)/.test: pyproject.toml | $(VENV)/.python
	@echo "Installing jaxrnn and what its tests need into $(VENV) (a minute or two)"
	@$(INSTALL) --editable ".[test]"
	@touch $@ $(VENV)/.scripts $(VENV)/.bench $(VENV)/.applications

$(VENV)/.tpu: $(VENV)/.test
	@echo "Installing the TPU compiler into $(VENV)"
	@$(INSTALL) --editable ".[test,tpu-check]"
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	@echo "Installing the linter and the type checker into $(VENV)"
	@$(INSTALL) --editable ".[test,lint]"
	@touch $@
