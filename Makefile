# Needs Python >= 3.11, pip, git and make. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check bench format clean

help:
	@echo "make demo    start the simulator and run the main job against it"
	@echo "make test    all tests, with a real Redis, several processes and branch coverage"
	@echo "make check   formatting, lint, types (mypy --strict, pyright)"
	@echo "make bench   every figure of the README, measured side by side with its peers"

$(VENV)/.user: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing wxmp with its command line and simulator"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cli,simulator]"
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	@echo "installing what tests and checks need"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[cli,simulator,fastapi,aiohttp]"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@touch $@

demo: $(VENV)/.user
	@$(BIN)/python -m wxmp demo

test: $(VENV)/.dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=95

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .demo dist
