# On a fresh machine with Python 3.11 or newer and make:
#   make demo   creates the environment and runs the main job
#   make test   creates the environment and passes the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test test-all lint format bench clean

demo: $(VENV)/.demo
	$(BIN)/jaxcalc demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --slow

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks --json benchmarks.json

clean:
	rm -rf $(VENV) .cache

# The stamp says which extras the environment holds; a change of what they ask for installs anew.
$(VENV)/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[$*]'
	touch $@
