# Everything runs in .venv, which `make setup` makes; it is quick when nothing changed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test lint demo bench bench-plots bench-record sim chaos compose-test clean

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "raftq needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

test: setup
	$(BIN)/pytest --numprocesses 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

demo: setup
	$(BIN)/python docs/examples/demo/main.py

bench: setup
	$(BIN)/raftq bench --nodes 3

# What docs/internals/performance.md shows is measured, kept beside it, and written into it.
bench-plots: setup
	$(BIN)/python -m tests.tidy.performance record curves

bench-record: setup
	$(BIN)/python -m tests.tidy.performance record

sim: setup
	$(BIN)/raftq sim --seeds 2000 --jobs 2

# Namespaces and disks need root; without, what needs neither is run.
chaos: setup
	$(BIN)/raftq chaos --rounds 3

compose-test: setup
	tests/install-tools.sh
	$(BIN)/pytest -m compose -rs tests/compose

clean:
	rm -rf .venv build dist
