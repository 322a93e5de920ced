# Every command of the project. `make` alone lists them.
# A fresh machine needs Python 3.11 or newer and make; the rest is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
ARGS ?= # e.g. make up ARGS="--port 8800 --api-port 8801"
JOBS ?= 3 # of the tests: a third keeps two cores busy while others wait for a server
BENCH_FILE ?= build/bench.json
HANDBOOK := src/meshtune/handbook/index.html
SCRIPTS := tests/javascript
NODE_TOOLS := $(SCRIPTS)/node_modules/.package-lock.json
NEW_NODE := node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 18 || (a == 18 && b > 17) ? 0 : 1)'
NODE_BIN := $(SCRIPTS)/node_modules/.bin
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
WRITTEN := $(shell find docs engine -name '*.md' -o -name '*.css' -o -name '*.py') \
	README.md CONTRIBUTING.md CHANGELOG.md mkdocs.yml
# The first of these that is new enough; some installations have a name that does not run.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Tests start many processes, and each would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up test test-fast check docs fix bench golden results screens measure browser proxy node torture load clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

setup: $(VENV)/.dev ## install everything into .venv

up: $(VENV)/.run $(HANDBOOK) ## start API, worker and dashboard; Ctrl-C stops them
	@$(BIN)/meshtune up $(ARGS)

test: $(VENV)/.dev browser proxy node ## run all tests, those in a browser included
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations=30

test-fast: $(VENV)/.dev ## the tests that need no browser, no server, no worker and no training
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --fast

check: $(VENV)/.dev $(NODE_TOOLS) ## lint, format, types, layers, sizes: what CI asks before the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/guards/sizes.py
	$(NODE_BIN)/eslint --max-warnings 0 --config $(SCRIPTS)/eslint.config.js dashboard/static $(SCRIPTS)
	$(NODE_BIN)/tsc --project $(SCRIPTS)

docs: $(VENV)/.run ## build the handbook, which the API and the dashboard serve at /handbook/
	$(MKDOCS)

fix: $(VENV)/.dev ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## time radio and plan, and the fleet engine against stock PEFT
	@mkdir -p $(dir $(BENCH_FILE))
	$(BIN)/meshtune bench --json $(BENCH_FILE)

load: $(VENV)/.dev ## measure store and API under load, on SQLite and PostgreSQL
	$(BIN)/python -m tests.load $(ARGS)

torture: $(VENV)/.dev ## kill workers of real runs at random for 15 minutes; nothing may be lost
	$(BIN)/python -m tests.torture $(or $(ARGS),--minutes 15 --kills 100)

golden: $(VENV)/.dev ## rewrite the golden records; say why in the commit
	$(BIN)/python -m pytest -n 0 tests/golden --rewrite

screens: $(VENV)/.dev browser ## take the pictures of docs/screens: every view, light and dark
	$(BIN)/python -m tests.browser.screens docs/screens $(ARGS)

measure: $(VENV)/.dev browser ## measure the dashboard in a browser: start, edits, rounds, dragging
	$(BIN)/python -m tests.browser.measure $(ARGS)

results: $(VENV)/.dev ## run the presets whose stored result is stale, for the pictures of the gallery
	$(BIN)/python -m meshtune.engine.reproduce.preset_results $(ARGS)

clean: ## drop .venv, the built handbook and all caches
	rm -rf $(VENV) build dist $(dir $(HANDBOOK)) $(SCRIPTS)/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

browser: $(VENV)/.dev
	@if command -v chromium chromium-browser google-chrome >/dev/null \
		|| ls $$HOME/.cache/ms-playwright/chromium-* >/dev/null 2>&1; then exit 0; fi; \
	echo "Installing Chromium for the browser test ..."; \
	as_root=""; if [ "$$(id -u)" != 0 ]; then as_root="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null \
		&& $$as_root apt-get update -qq \
		&& $$as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null; then exit 0; fi; \
	$(BIN)/playwright install chromium \
		|| echo "No Chromium could be installed: the browser test will fail. Install one by hand."

# With RUNLEVEL=1 Debian installs the proxy and does not start it; the test starts one of its own.
proxy:
	@if PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null; then exit 0; fi; \
	echo "Installing nginx for the test behind a proxy ..."; \
	as_root=""; if [ "$$(id -u)" != 0 ]; then as_root="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null \
		&& $$as_root apt-get update -qq \
		&& $$as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends nginx-light >/dev/null; then exit 0; fi; \
	echo "No nginx could be installed: the test behind a proxy will fail. Install one by hand."

# For the scripts of the pages: their tests need Node.js alone, their linters npm as well.
node:
	@if command -v npm >/dev/null && $(NEW_NODE) 2>/dev/null; then exit 0; fi; \
	echo "Installing Node.js for the checks of dashboard/static ..."; \
	as_root=""; if [ "$$(id -u)" != 0 ]; then as_root="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$as_root true 2>/dev/null \
		&& $$as_root apt-get update -qq \
		&& $$as_root apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null \
		&& $(NEW_NODE); then exit 0; fi; \
	echo "No Node.js 18.18 or newer, with npm, could be installed: install it by hand."

$(NODE_TOOLS): $(SCRIPTS)/package-lock.json $(SCRIPTS)/.npmrc | node
	cd $(SCRIPTS) && npm ci --loglevel=error
	@touch $@

# Only when a page or a docstring is newer. Without it Meshtune runs as well, and says so.
$(HANDBOOK): $(WRITTEN) | $(VENV)/.run
	@echo "Building the handbook ..."
	@$(MKDOCS) || echo "The handbook could not be built; make docs says why."

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or make PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make a virtual environment; on Debian install python3-venv"; exit 1; }

# torch goes first and alone: which build it is (processor or graphics card) is for pip's own
# configuration to say, and nothing after it may change that choice.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); this takes some minutes the first time ..."
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -c constraints.txt -e '.[dev,docs]'
	@touch $@
