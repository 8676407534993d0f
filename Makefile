# `make run` starts the daemon, `make test` runs the tests; each sets up what it needs first.
# With `uv` on the machine it is used; without, it is fetched into .tools/.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := .tools/bin/uv
endif
RUN := .venv/bin/

.DEFAULT_GOAL := help
.PHONY: help run test lint types contracts check bench clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready ## Set up, and start the daemon with the embedded model.
	@$(RUN)ears-edge serve

test: .venv/ready ## Set up, and run all tests.
	@$(RUN)pytest

lint: .venv/ready ## Check style and formatting.
	@$(RUN)ruff check
	@$(RUN)ruff format --check

types: .venv/ready ## Check types.
	@$(RUN)mypy

contracts: .venv/ready ## Check which module may import which.
	@$(RUN)lint-imports

check: lint types contracts test ## All of the above.

bench: .venv/ready ## Measure speed, latency, memory and word errors on the project's own clips.
	@$(RUN)ears-edge bench tests/data/*.flac

clean: ## Remove what was set up.
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/ready: pyproject.toml uv.lock | $(if $(filter .tools/%,$(UV)),.tools/bin/uv)
	@echo "Setting up .venv from uv.lock (about 50 packages, 300 MB; once)."
	@$(UV) sync --locked --quiet
	@touch $@

.tools/bin/uv:
	@echo "Fetching uv into .tools/ (once)."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older. Name another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .tools || \
		{ rm -rf .tools; echo "Python's venv is missing. On Debian: sudo apt install python3-venv"; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.8'
