# Every target installs what it needs into .venv; nothing else on the machine is touched.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench demo-rollout clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: .venv/.run ## install the service with the e5 embedder
run: .venv/.run ## install, migrate, load the sample documents, serve on 127.0.0.1:8000
	@$(BIN)/dtrag quickstart

test: .venv/.dev ## all tests, without any network service
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.dev ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev ## print every measurement of docs/measurements.md
	$(BIN)/python -m bench.all

demo-rollout: .venv/.run ## watch a bad feature being rolled back by itself
	@$(BIN)/python -m bench.demo_rollout

clean: ## remove the virtual environment and local data
	rm -rf .venv .tools var

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 run"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --progress-bar on -q -c constraints.txt -e '.[e5]'
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --progress-bar on -q -c constraints.txt -e '.[e5,otel,dev]'
	@touch .venv/.run $@
