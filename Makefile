# `make` alone lists the targets. Two Python environments are made on first use and again when their lock file changes:
# .venv for everything of ours, .venv-bigquery for the sandbox's BigQuery emulator, which needs another pyarrow than Beam.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON_VERSION := 3.13
VENV := .venv
BIGQUERY := .venv-bigquery
PEERS := .venv-peers
PYTHON := $(VENV)/bin/python
UV := .uv/bin/uv
# uv's own files stay in this folder when there is no home to put them in.
HOMELESS := $(shell test -w "$$HOME" || echo yes)
UV_RUN := $(if $(HOMELESS),UV_CACHE_DIR=$(CURDIR)/.uv/cache UV_PYTHON_INSTALL_DIR=$(CURDIR)/.uv/python) $(UV)
LOCK = $(UV_RUN) pip compile --quiet --python-version $(PYTHON_VERSION) --python-platform linux --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
# uv tells what it downloads, and then lists every package: the list says nothing that the lock file does not.
WITHOUT_LIST = 2>&1 | sed -u '/^ [+~-] /d'
ARGS ?=
HISTORIES ?= 5000

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Run the product against real servers on this machine
	@$(PYTHON) -m sandbox.demo $(ARGS)

.PHONY: test
test: install ## Run the tests; ARGS="-k name" chooses
	@$(PYTHON) -m pytest $(ARGS)

.PHONY: check
check: install ## Check format, lint, types, layers and generated files
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PYTHON) -m sync_pipeline.reference --check

.PHONY: format
format: install ## Format the code and mend what the linter can
	@$(VENV)/bin/ruff check --fix-only --quiet
	@$(VENV)/bin/ruff format

.PHONY: lock
lock: $(UV) ## Write the lock files again; UPGRADE=--upgrade takes newer versions
	@echo uv | $(LOCK) - --output-file requirements-uv.txt
	@$(LOCK) pyproject.toml --output-file requirements.txt
	@$(LOCK) requirements-dev.in --output-file requirements-dev.txt
	@$(LOCK) sandbox/requirements-bigquery.in --override sandbox/requirements-bigquery.override \
		--output-file sandbox/requirements-bigquery.txt
	@$(LOCK) benchmarks/requirements-peers.in --output-file benchmarks/requirements-peers.txt

.PHONY: bench
bench: install $(PEERS)/.installed ## Measure reading PostgreSQL beside the limit and the peers; ARGS=--quick tries it
	@$(PYTHON) -m benchmarks.postgresql $(ARGS)

.PHONY: bench-memory
bench-memory: install ## Measure the memory that a sync needs
	@$(PYTHON) -m benchmarks.memory $(ARGS)

.PHONY: soak
soak: install ## Play HISTORIES=5000 random histories of source, runs and destination
	@$(PYTHON) -m tests.integration.soak --histories $(HISTORIES) $(ARGS)

.PHONY: clean
clean: ## Stop the sandbox; delete the environments and everything else that is made
	@if [ -f .sandbox/state.json ]; then $(PYTHON) -m sandbox down; fi
	@rm -rf $(VENV) $(BIGQUERY) $(PEERS) .uv .sandbox *.egg-info build .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: install
install: $(VENV)/.installed $(BIGQUERY)/.installed ## Make both environments, unless they are up to date

$(VENV)/.installed: requirements.txt requirements-dev.txt pyproject.toml setup.py | $(UV) python
	@echo "Installing the project into $(VENV) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(VENV)
	@$(UV_RUN) pip sync --python $(PYTHON) --require-hashes requirements.txt requirements-dev.txt $(WITHOUT_LIST)
	@# Beam's worker processes import sync_pipeline from wherever they are started. The build runs with the setuptools
	@# of the lock file, not with one that is downloaded for it.
	@$(UV_RUN) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

$(BIGQUERY)/.installed: sandbox/requirements-bigquery.txt | $(UV) python
	@echo "Installing the BigQuery emulator into $(BIGQUERY) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(BIGQUERY)
	@$(UV_RUN) pip install --python $(BIGQUERY)/bin/python --no-deps --require-hashes --requirements $< $(WITHOUT_LIST)
	@$(BIGQUERY)/bin/python -I sandbox/bigquery_server.py --install
	@touch $@

$(PEERS)/.installed: benchmarks/requirements-peers.txt | $(UV) python
	@echo "Installing what the benchmark compares with into $(PEERS) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(PEERS)
	@$(UV_RUN) pip sync --python $(PEERS)/bin/python --require-hashes $< $(WITHOUT_LIST)
	@touch $@

.PHONY: python
python: $(UV)
	@$(UV_RUN) python find --quiet $(PYTHON_VERSION) >/dev/null 2>&1 \
		|| { echo "Downloading Python $(PYTHON_VERSION) …"; $(UV_RUN) python install --quiet $(PYTHON_VERSION) 2>/dev/null; } \
		|| { echo "make: no Python $(PYTHON_VERSION) here, and none to be downloaded; install one first" >&2; exit 1; }

# uv installs quickly, and brings a Python where there is no right one. Debian's python3 may lack the module that makes
# environments; the message says what to do then.
$(UV):
	@command -v python3 >/dev/null || { echo "make: install Python first: apt-get install python3-venv" >&2; exit 1; }
	@python3 -m venv .uv 2>/dev/null || { rm -rf .uv; \
		echo "make: python3 cannot make environments; do: apt-get install python3-venv" >&2; exit 1; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.txt
