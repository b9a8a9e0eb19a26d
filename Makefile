# Needs Python >= 3.11, pip, git and make. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# The next wechatpy, installed beside the released one; both judge the simulator.
WECHATPY_NEXT := 2.0.0a26
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test browser check bench format docs-tables clean

help:
	@echo "make demo    start the simulator and run the main job against it"
	@echo "make test    all tests, with a real Redis, several processes and branch coverage"
	@echo "make browser install a Chromium for the tests of the simulator's page, which are left out without one"
	@echo "make check   formatting, lint, types (mypy --strict, pyright)"
	@echo "make format  write formatting and what lint can repair"
	@echo "make docs-tables  write the pages of docs/ that repeat tables of the code"
	@echo "make bench   every figure of the README, measured side by side with its peers"
	@echo "make clean   remove everything that the commands above have made"

$(VENV)/.user: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing wxmp with its command line and simulator"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cli,simulator]"
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	@echo "installing what tests and checks need"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[cli,simulator,fastapi,aiohttp,taskiq]"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@touch $@

# Other SDKs, which judge the simulator: an environment of their own, because ours is none of their business.
$(VENV)/.peers: constraints-peers.txt Makefile | $(VENV)/.user
	@test -x $(VENV)/peers/bin/python || $(PYTHON) -m venv $(VENV)/peers
	@echo "installing the SDKs that judge the simulator"
	@$(VENV)/peers/bin/python -m pip install --quiet --requirement constraints-peers.txt
	@$(VENV)/peers/bin/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/peers/next wechatpy==$(WECHATPY_NEXT)
	@touch $@

demo: $(VENV)/.user
	@$(BIN)/python -m wxmp demo

test: $(VENV)/.dev $(VENV)/.peers
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=95

# A browser is the one thing that takes root, so it has a target of its own.
browser:
	@$(PYTHON) tests/browser/chromium.py

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

# The pages that are written from the code's own tables; a test says when they are behind.
docs-tables: $(VENV)/.user
	$(BIN)/python docs/tables.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .demo dist
