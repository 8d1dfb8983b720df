# winnow: `make demo` shows it at work, `make test` checks everything that needs no GPU.
# Both make a virtual environment in .venv on their first call; PYTHON names another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=

CODE := winnow pipelines stages classifiers cluster
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
EXTRA ?= gpu-cu13
GPU := $(VENV)/.$(EXTRA)-installed
DEMO_DATA := demo-data/SOURCES.md

.PHONY: demo test test-extras test-gpu bench bench-gpu clean

demo: $(BASE) $(DEMO_DATA)
	$(BIN)/winnow run pipelines/recipe/shipped/demo.yaml --run-dir demo-run
	@echo "Report: $(CURDIR)/demo-run/report.html"

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	-$(BIN)/winnow models fetch # tests that need the language model skip without it
	$(BIN)/pytest -n $(WORKERS) $(PYTEST_ARGS)

# Real torch, NeMo Curator and Presidio, in an environment of their own (8 GB).
test-extras:
	$(MAKE) VENV=.venv-extras .venv-extras/.extras-installed
	.venv-extras/bin/pytest -rs tests/test_extras.py $(PYTEST_ARGS)

test-gpu: $(GPU)
	-$(MAKE) $(DEMO_DATA) # the comparison of the demo on CPU and GPU skips without it
	$(BIN)/pytest -m gpu -rs $(PYTEST_ARGS)

bench: $(DEV)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

# test-gpu and bench-gpu need the extra gpu-cu13 or gpu-cu12 in the environment: EXTRA names it.
bench-gpu: $(GPU)
	$(BIN)/python -m benchmarks.gpu $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .venv-extras demo-data demo-run build dist *.egg-info bench-out
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard $(CODE) tests benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and \
	  f"winnow needs Python 3.11, 3.12 or 3.13; $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(BASE)

$(VENV)/.extras-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,torch,nemo,presidio]'
	@touch $@

$(GPU): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,$(EXTRA)]'
	@touch $@ $(BASE) $(DEV)

# New demo data makes an old demo run worthless.
$(DEMO_DATA): pipelines/demo/demo.py | $(BASE)
	rm -rf demo-run
	$(BIN)/winnow models fetch
	$(BIN)/python -m pipelines.demo --out demo-data
