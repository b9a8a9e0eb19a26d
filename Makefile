# Needs Python >= 3.11, pip, git and make. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# The next wechatpy, installed beside the released one; both judge the simulator.
WECHATPY_NEXT := 2.0.0a26
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes: without kept bytecode each would compile all it imports, for a second of CPU.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo quick test browser check bench format docs docs-tables package package-test package-full clean

help:
	@echo "make demo    start the simulator and run the main job against it"
	@echo "make quick   the fast tests, or those of PYTEST_ARGS=..., without coverage"
	@echo "make test    all tests, with a real Redis, several processes and branch coverage"
	@echo "make browser install a Chromium for the tests of the simulator's page, which are left out without one"
	@echo "make check   formatting, lint, types (mypy --strict, pyright)"
	@echo "make format  write formatting and what lint can repair"
	@echo "make docs    the documentation site, English and Chinese, in .site"
	@echo "make docs-tables  write the pages of docs/ that repeat tables of the code"
	@echo "make bench   every figure of performance, measured side by side with its peers"
	@echo "make package  wheel and source archive in dist/, built reproducibly and checked"
	@echo "make package-test  the wheel without the sources: each extra alone, and tests with the lowest dependencies"
	@echo "make package-full  the same with all tests, the newest dependencies and every Python at hand; before a release"
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

$(VENV)/.docs: $(VENV)/.user
	@echo "installing what the documentation site needs"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs --editable ".[cli,simulator,fastapi,aiohttp,taskiq,opentelemetry,prometheus]"
	@touch $@

# Other SDKs, which judge the simulator: an environment of their own, because ours is none of their business.
$(VENV)/.peers: constraints-peers.txt Makefile | $(VENV)/.user
	@test -x $(VENV)/peers/bin/python || $(PYTHON) -m venv $(VENV)/peers
	@echo "installing the SDKs that judge the simulator"
	@$(VENV)/peers/bin/python -m pip install --quiet --requirement constraints-peers.txt
	@$(VENV)/peers/bin/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/peers/next wechatpy==$(WECHATPY_NEXT)
	@touch $@

# What builds, checks and publishes the distribution: an environment of its own, which nothing else gets into.
$(VENV)/.package: .ci/tools.txt
	@echo "installing what packaging needs"
	@$(PYTHON) -m venv --clear $(VENV)/package
	@$(VENV)/package/bin/python -m pip install --quiet --constraint .ci/tools.txt uv
	@$(VENV)/package/bin/uv pip install --quiet --no-build --python $(VENV)/package/bin/python --requirement .ci/tools.txt
	@touch $@

demo: $(VENV)/.user
	@$(BIN)/python -m wxmp demo

# What a change to a family of endpoints needs; `make test` is for the rest, and for the two that take as long as all this.
QUICK := tests/api tests/test_public_api.py tests/test_architecture.py tests/test_project.py tests/test_wire.py
QUICK += --ignore=tests/api/test_hostile.py --ignore=tests/api/test_loading.py
quick: $(VENV)/.dev
	$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile $(or $(PYTEST_ARGS),$(QUICK))

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

# A warning is an error: a link to nowhere, a name that nobody defines, a page that no table of contents lists.
SITE := $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --jobs auto --conf-dir docs
docs: $(VENV)/.docs
	@rm -rf .site
	$(SITE) --doctree-dir .site/.cache/en docs .site
	$(SITE) --doctree-dir .site/.cache/zh --tag zh docs/zh .site/zh
	@rm -rf .site/.cache
	@echo "open .site/index.html, or .site/zh/index.html"

DISTRIBUTION := $(VENV)/package/bin/python .ci/distribution.py
package: $(VENV)/.package
	$(DISTRIBUTION) build
	$(DISTRIBUTION) check

package-test: package
	$(DISTRIBUTION) extras
	$(DISTRIBUTION) wheel --dependencies lowest

package-full: package-test
	$(DISTRIBUTION) behind
	$(DISTRIBUTION) wheel --dependencies lowest --all
	$(DISTRIBUTION) wheel --dependencies newest --all
	$(DISTRIBUTION) wheel --dependencies newest --all --python others
	$(DISTRIBUTION) sbom
	$(VENV)/package/bin/shellcheck .ci/run .ci/publish

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .demo dist .site
	find wxmp tests benchmarks docs .ci -name __pycache__ -type d -prune -exec rm -rf {} +
