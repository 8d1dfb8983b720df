# winnow: `make help` lists what there is. A virtual environment is made in .venv on the first call; PYTHON names another
# interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 3
PYTEST_ARGS ?=
BENCH_ARGS ?=
KIT_ARGS ?=

CODE := winnow pipelines stages classifiers cluster
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
EXTRA ?= gpu-cu13
GPU := $(VENV)/.$(EXTRA)-installed
COVERAGE := $(foreach package,$(CODE),--cov=$(package)) --cov-report=term:skip-covered
DEMO_DATA := demo-data/SOURCES.md

.PHONY: help demo test lint types doctest nightly nightly-damage nightly-kills nightly-histories nightly-fuzz nightly-s3 coverage api test-extras test-loaders test-gpu bench instructions bench-gpu gpu-kit clean

help: ## list these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/\1\t\2/' | sort | expand -t 20
	@echo 'Variables: PYTHON, VENV, WORKERS (of pytest), PYTEST_ARGS, BENCH_ARGS, EXTRA (gpu-cu13 or gpu-cu12).'

demo: $(BASE) $(DEMO_DATA) ## build four small datasets from real text, run a whole recipe over them
	$(BIN)/winnow run pipelines/recipe/shipped/demo.yaml --run-dir demo-run
	@echo "Report: $(CURDIR)/demo-run/report.html"

test: lint types doctest ## every check that needs no GPU, but the nightly ones
	-$(BIN)/winnow models fetch # tests that need the language model skip without it
	-$(BIN)/winnow warmup # else several processes of tests compile the same kernels at once
	$(BIN)/pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: $(DEV) ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## types, and which package may import which
	$(BIN)/mypy
	$(BIN)/lint-imports

doctest: $(DEV) ## the examples in docstrings
	$(BIN)/pytest --doctest-modules --quiet $(CODE)

# Tests marked nightly as well, ten times the examples of property tests, and what the tests reach. The parts can be run one by
# one, each as one process; their budgets are counted, not timed: so many cases, then they end. Hours are of one idle core.
nightly: lint types doctest ## the slow nets: marked tests, more examples, coverage
	-$(BIN)/winnow models fetch
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n $(WORKERS) --timeout 14400 -m 'not gpu and not loaders' $(COVERAGE) $(PYTEST_ARGS)

RUNS := tests/pipelines/run
NIGHTLY := $(BIN)/pytest -q --timeout 14400 -m nightly $(PYTEST_ARGS)

nightly-damage: $(DEV) ## every file of a run folder damaged: 1,120 flips and 1,400 cases, about 2 hours
	$(NIGHTLY) $(RUNS)/test_bit_flips.py $(RUNS)/test_damaged_folders.py

nightly-kills: $(DEV) ## kills and failing calls at every call to the storage, about 2 hours
	$(NIGHTLY) $(RUNS)/test_faults.py

nightly-histories: $(DEV) ## 150 random histories of a run folder, about half an hour
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q --timeout 14400 $(PYTEST_ARGS) $(RUNS)/test_histories.py

nightly-fuzz: $(DEV) ## readers, recipes, models and sidecars changed by 2,000 to 5,000 seeds of each kind, about 2 hours
	$(NIGHTLY) tests/stages/inputs tests/pipelines/recipe tests/classifiers tests/cluster/test_fuzzed_run_folder_files.py

nightly-s3: $(DEV) ## every fault at every request to S3, about an hour
	$(NIGHTLY) $(RUNS)/test_s3_faults.py

coverage: $(DEV) ## which lines the tests reach (kernels are compiled, so their lines show as missed)
	$(BIN)/pytest -n $(WORKERS) $(COVERAGE) $(PYTEST_ARGS)

api: $(BASE) ## write docs/api.md from the docstrings
	$(BIN)/python docs/make_api.py

# Real torch, NeMo Curator, Presidio and llama.cpp (compiled), in an environment of their own (8 GB).
test-extras: ## the optional models, in .venv-extras
	$(MAKE) VENV=.venv-extras .venv-extras/.extras-installed
	.venv-extras/bin/pytest -rs tests/test_extras.py tests/test_llm_servers.py $(PYTEST_ARGS)

# torch and the libraries that read exports, in an environment of their own (7 GB). nanotron is in no package index
# as far as it reads tokens: PYTHONPATH=CHECKOUT/src, with dacite and torchtyping beside it, runs its test as well.
test-loaders: ## exports and mixes read by the real training loaders
	$(MAKE) VENV=.venv-loaders .venv-loaders/.loaders-installed
	.venv-loaders/bin/pytest -rs -m loaders tests/pipelines/export tests/pipelines/mix $(PYTEST_ARGS)

test-gpu: $(GPU) ## every kernel and the demo on a GPU against the CPU
	-$(MAKE) $(DEMO_DATA) # the comparison of the demo on CPU and GPU skips without it
	$(BIN)/pytest -m gpu -rs $(PYTEST_ARGS)

bench: $(DEV) ## compare with peers on the same files, write the tables of docs/benchmarks.md
	$(BIN)/python -m benchmarks --page docs/benchmarks.md $(BENCH_ARGS)

instructions: $(DEV) ## count the instructions of eleven kernels (needs valgrind), compare with the last release
	$(BIN)/python -m benchmarks.instructions $(BENCH_ARGS)

# test-gpu and bench-gpu need the extra gpu-cu13 or gpu-cu12 in the environment: EXTRA names it.
bench-gpu: $(GPU) ## time the kernels on a GPU
	$(BIN)/python -m benchmarks.gpu $(BENCH_ARGS)

# For a GPU machine without a package index: KIT_ARGS="--keep 80" for another kind of GPU than H100 and H200.
gpu-kit: $(GPU) ## pack what a GPU machine without a package index needs, into .gpu
	$(BIN)/python -m benchmarks.gpu_kit.pack .gpu $(KIT_ARGS)

clean: ## remove environments, demo data and what tools leave behind
	rm -rf $(VENV) .venv-extras .venv-loaders demo-data demo-run .gpu build dist *.egg-info bench-out
	rm -rf .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard $(CODE) tests benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 15) and \
	  f"winnow needs Python 3.11, 3.12, 3.13 or 3.14; $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(BASE)

$(VENV)/.extras-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,torch,nemo,presidio]' 'llama-cpp-python[server]>=0.3' 'gguf>=0.10'
	@touch $@

$(VENV)/.loaders-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[loaders]'
	@touch $@

# onnxruntime, of dev, and onnxruntime-gpu write the same files: the second alone may stay.
$(GPU): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,$(EXTRA)]'
	$(BIN)/python -m pip uninstall --quiet --yes onnxruntime
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps \
	  "onnxruntime-gpu==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("onnxruntime-gpu"))')"
	@touch $@ $(BASE) $(DEV)

# New demo data makes an old demo run worthless.
$(DEMO_DATA): pipelines/demo/demo.py | $(BASE)
	rm -rf demo-run
	$(BIN)/winnow models fetch
	$(BIN)/python -m pipelines.demo --out demo-data
