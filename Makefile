# `make` without a target lists the targets. Python environments are created on first use and when their lock file
# changes: .venv for this project, .venv-bigquery for the sandbox's BigQuery emulator, which needs another pyarrow than
# Beam, .venv-airflow for the tests of the DAGs. The peers of a benchmark have separate environments, created when they are measured.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON_VERSION := 3.13
VENV := .venv
BIGQUERY := .venv-bigquery
FUNCTION := .venv-function
AIRFLOW := .venv-airflow
INGESTR := .venv-ingestr
PEERS := .venv-peers
PYTHON := $(VENV)/bin/python
UV := .uv/bin/uv
# By default uv uses its own list of authorities, and so does pip before 24.2. Both would fail behind a proxy with another.
export UV_SYSTEM_CERTS ?= 1
# With it, each of the many programs of a test run would compile all its modules, which takes Beam's two seconds.
unexport PYTHONDONTWRITEBYTECODE
SYSTEM_CERTS := $(wildcard /etc/ssl/certs/ca-certificates.crt)
PIP_WITH_CERTS = $(if $(PIP_CERT)$(REQUESTS_CA_BUNDLE)$(CURL_CA_BUNDLE),,$(if $(SYSTEM_CERTS),PIP_CERT=$(SYSTEM_CERTS)))
REQUESTS_WITH_CERTS = $(if $(REQUESTS_CA_BUNDLE)$(CURL_CA_BUNDLE),,$(if $(SYSTEM_CERTS),REQUESTS_CA_BUNDLE=$(SYSTEM_CERTS)))
# Without a home folder, uv stores its files in this folder.
HOMELESS := $(shell test -w "$$HOME" || echo yes)
UV_RUN := $(if $(HOMELESS),UV_CACHE_DIR=$(CURDIR)/.uv/cache UV_PYTHON_INSTALL_DIR=$(CURDIR)/.uv/python) $(UV)
LOCK = $(UV_RUN) pip compile --quiet --python-version $(PYTHON_VERSION) --python-platform linux --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
# Hide uv's list of installed packages, which repeats the lock file, but keep its progress of downloads.
WITHOUT_LIST = 2>&1 | sed -u '/^ [+~-] /d'
SERVERS := tests/integration tests/sandbox tests/deployment
ARGS ?=
# One more than cores, as tests also wait for servers and sleeping programs.
PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))
HISTORIES ?= 5000
CASES ?= 20000

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## Run the product against real servers on this machine
	@$(PYTHON) -m sandbox.demo $(ARGS)

.PHONY: recording
recording: install ## Record the demo as docs/demo.svg
	@$(PYTHON) -m sandbox.demo_recording docs/demo.svg

.PHONY: test
test: install $(AIRFLOW)/.installed ## Run the tests; ARGS="-k name" chooses, PROCESSES=3 uses so many, by default one more than cores
	@$(PYTHON) -m pytest --numprocesses=$(PROCESSES) --maxprocesses=4 --dist=worksteal $(ARGS)

# Tests that start no server and run no deployment program.
.PHONY: test-fast
test-fast: install ## Run the tests that need no server, in about a minute
	@$(PYTHON) -m pytest --numprocesses=$(PROCESSES) --maxprocesses=4 --dist=worksteal $(SERVERS:%=--ignore=%) $(ARGS)

.PHONY: check
check: install ## Check format, lint, types, layers, Dockerfile, generated files and documentation
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/hadolint Dockerfile
	@$(PYTHON) -m sync_pipeline.parameters.documents --check
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory advise

# NO_MKDOCS_2_WARNING hides an advertisement of the theme. Warnings end the build, so that no link leads nowhere.
.PHONY: docs
docs: install ## Build the documentation as a website, in build/site
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict 2>&1 | sed '/^INFO/d'

# Advisories change without a change in this repository, so `make check` only reports them, and `make audit` fails.
ADVISORIES ?= https://api.osv.dev/v1/query

.PHONY: audit
audit: install ## Check the locked packages for known vulnerabilities; fails if it finds one
	@$(REQUESTS_WITH_CERTS) timeout 180 $(VENV)/bin/pip-audit --progress-spinner=off --disable-pip --require-hashes --requirement=requirements.txt \
		--vulnerability-service=osv --osv-url=$(ADVISORIES) --timeout=10

# Any HTTP answer shows that the advisories are reachable, even an error.
REACHED = import sys, urllib.error, urllib.request as r\ntry: r.urlopen(sys.argv[1], timeout=4)\nexcept urllib.error.HTTPError: pass

.PHONY: advise
advise: install
	@if timeout 10 $(PYTHON) -c "$$(printf '$(REACHED)')" $(ADVISORIES) 2>/dev/null; then \
		$(MAKE) --no-print-directory audit || echo "make check: see above; make audit fails by it" >&2; \
	else echo "No advisories are to be had from $(ADVISORIES): known vulnerabilities were not looked for."; fi

.PHONY: images
images: ## Pin the Dockerfile's base images to the current digests of their tags; needs Docker
	@.ci/base-images --pin

.PHONY: dist
dist: install ## Build the wheel and the source distribution in build/dist, and check them
	@rm -rf build/dist
	@$(UV_RUN) build --quiet --python=$(PYTHON) --no-build-isolation --out-dir=build/dist
	@$(VENV)/bin/twine check --strict build/dist/*

.PHONY: format
format: install ## Format the code and fix what the linter can fix
	@$(VENV)/bin/ruff check --fix-only --quiet
	@$(VENV)/bin/ruff format

.PHONY: lock
lock: $(UV) ## Rewrite the lock files; UPGRADE=--upgrade takes newer versions
	@echo uv | $(LOCK) - --output-file requirements-uv.txt
	@$(LOCK) pyproject.toml --output-file requirements.txt
	@$(LOCK) requirements-dev.in --output-file requirements-dev.txt
	@$(LOCK) sandbox/requirements-bigquery.in --override sandbox/requirements-bigquery.override \
		--output-file sandbox/requirements-bigquery.txt
	@$(LOCK) orchestration/composer/requirements.in --override orchestration/composer/requirements.override \
		--exclude-newer 2026-08-27 --output-file orchestration/composer/requirements.txt
	@$(LOCK) benchmarks/requirements-ingestr.in --config-file benchmarks/requirements-ingestr.toml \
		--output-file benchmarks/requirements-ingestr.txt
	@$(LOCK) orchestration/chain/requirements.in --output-file orchestration/chain/requirements.txt
	@$(LOCK) benchmarks/requirements-peers.in --output-file benchmarks/requirements-peers.txt

.PHONY: bench
bench: install $(PEERS)/.installed ## Compare reading PostgreSQL with its limit and peers; ARGS=--quick for a short trial
	@$(PYTHON) -m benchmarks.postgresql $(ARGS)

.PHONY: bench-memory
bench-memory: install ## Measure the memory of a sync
	@$(PYTHON) -m benchmarks.memory $(ARGS)

.PHONY: bench-tables
bench-tables: install $(PEERS)/.installed ## Compare a run of many tables with a run a table, and with dlt
	@$(PYTHON) -m benchmarks.tables $(ARGS)

.PHONY: bench-deletes
bench-deletes: install ## Compare finding deleted rows with a full reload and with a comparison in Python
	@$(PYTHON) -m benchmarks.deletes $(ARGS)

.PHONY: bench-mongodb
bench-mongodb: install $(INGESTR)/.installed ## Compare reading MongoDB with its limit and two peers
	@$(PYTHON) -m benchmarks.mongodb $(ARGS)

.PHONY: bench-bigquery
bench-bigquery: install ## Compare reading BigQuery with Beam's own connector
	@$(PYTHON) -m benchmarks.bigquery $(ARGS)

.PHONY: fuzz
fuzz: install ## Try CASES=20000 hostile parameters, launch files, documents and messages
	@FUZZ_CASES=$(CASES) $(PYTHON) -m pytest -n0 -q --timeout=0 tests/test_fuzz.py tests/test_fuzz_jobs.py $(ARGS)

.PHONY: soak
soak: install ## Run HISTORIES=5000 random histories of source, runs and destination
	@$(PYTHON) -m tests.integration.soak --histories $(HISTORIES) $(ARGS)

.PHONY: soak-writer
soak-writer: install ## Run syncs for ten minutes while rows are written, then compare; ARGS="--seconds 60" for less
	@$(PYTHON) -m tests.integration.writer_soak $(ARGS)

# The commands of `make deploy`, in order. Cloud Build builds the image, so Docker is not needed.
SUBMIT = gcloud builds submit . --project=$(PROJECT) --region=$(REGION)
ACCOUNT = --service-account=projects/$(PROJECT)/serviceAccounts/$(1)@$(PROJECT).iam.gserviceaccount.com
TESTER ?= sync-test
BUILDER ?= sync-build
DEPLOY_TEST = $(SUBMIT) --config=cloudbuild-test.yaml $(call ACCOUNT,$(TESTER))
DEPLOY = $(SUBMIT) --config=cloudbuild.yaml $(call ACCOUNT,$(BUILDER)) \
	--substitutions=_REGION=$(REGION),_REPOSITORY=$(REPOSITORY),_TEMPLATES=$(TEMPLATES:gs://%=%)$(if $(TAG),$(COMMA)_TAG=$(TAG))
COMMA := ,
NEEDED = $(strip $(foreach name,PROJECT REGION REPOSITORY TEMPLATES,$(if $($(name)),,$(name))))

.PHONY: deploy
deploy: ## Show the commands that test and publish the template; RUN=yes runs them
	@if [ -n "$(NEEDED)" ]; then echo "make deploy: $(NEEDED) missing; for example: make deploy PROJECT=my-project" \
		"REGION=us-central1 REPOSITORY=sync TEMPLATES=my-templates" >&2; exit 1; fi
	@echo '$(DEPLOY_TEST)'
	@echo '$(DEPLOY)'
	@if [ "$(RUN)" = yes ]; then $(DEPLOY_TEST) && $(DEPLOY); else echo "Nothing has been run. With RUN=yes it is." >&2; fi

.PHONY: clean
clean: ## Stop the sandbox; delete the environments and all generated files
	@if [ -f .sandbox/state.json ]; then $(PYTHON) -m sandbox down; fi
	@rm -rf $(VENV) $(BIGQUERY) $(FUNCTION) $(AIRFLOW) $(INGESTR) $(PEERS) .uv .sandbox *.egg-info build .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: install
install: $(VENV)/.installed $(BIGQUERY)/.installed $(FUNCTION)/.installed ## Create both environments, unless they are up to date

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

$(FUNCTION)/.installed: orchestration/chain/requirements.txt | $(UV) python
	@echo "Installing the function of the chains into $(FUNCTION) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(FUNCTION)
	@$(UV_RUN) pip sync --python $(FUNCTION)/bin/python --require-hashes $< $(WITHOUT_LIST)
	@touch $@

# Airflow as Composer has it, for the tests of the DAGs.
$(AIRFLOW)/.installed: orchestration/composer/requirements.txt | $(UV) python
	@echo "Installing Airflow into $(AIRFLOW) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(AIRFLOW)
	@$(UV_RUN) pip install --python $(AIRFLOW)/bin/python --no-deps --require-hashes --requirements $< $(WITHOUT_LIST)
	@touch $@

# The peers of the benchmarks.
$(INGESTR)/.installed: benchmarks/requirements-ingestr.txt | $(UV) python
	@echo "Installing dlt with ingestr's source into $(INGESTR) …"
	@$(UV_RUN) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(INGESTR)
	@$(UV_RUN) pip install --python $(INGESTR)/bin/python --no-deps --require-hashes --requirements $< $(WITHOUT_LIST)
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

# uv installs quickly, and downloads Python if the right version is missing. Debian's python3 may lack the venv module;
# the message then shows the remedy.
$(UV):
	@command -v python3 >/dev/null || { echo "make: install Python first: apt-get install python3-venv" >&2; exit 1; }
	@python3 -m venv .uv 2>/dev/null || { rm -rf .uv; \
		echo "make: python3 cannot make environments; do: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP_WITH_CERTS) .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.txt
