# `make demo` shows it, `make test` proves it. Both set everything up in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow pictures lint bench soak setup lock clean

setup: $(VENV)/.ready

# The stamp is newer than what it was made from, or the environment is brought up to date.
$(VENV)/.ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/ingestd demo

test: setup
	$(BIN)/python -m pytest -n auto

# What takes minutes: every page in a browser, axe-core in both themes and on a phone; memory of large exports.
test-slow: setup
	$(BIN)/python -m pytest -n auto -m slow

# The pictures of the documents, of a demo in Chromium: to be looked at before they are committed.
pictures: setup
	$(BIN)/python -m tests.pages.pictures

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench

# Half an hour of load and kills; `MINUTES=5` or `SOAK=--postgres` for another one.
MINUTES ?= 30
soak: setup
	$(BIN)/python -m bench.soak --minutes $(MINUTES) $(SOAK)

# Exact versions with hashes for every platform and Python from 3.11 on, without the address of an index.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
