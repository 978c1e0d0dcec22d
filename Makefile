# Every command of this repository. `make help` lists them; each sets up what it needs by itself.
#
# Settings: PYTHON=/path/to/python (else found, see scripts/find-python), ATOLL_VENV (default .venv),
# CARGO_TARGET_DIR (default target), ARGS (passed on to demo, bench and pytest).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL: # the steps share the virtual environment
MAKEFLAGS += --no-print-directory

export ATOLL_VENV := $(or $(ATOLL_VENV),.venv)
export CARGO_TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TERM_PROGRESS_WHEN := never

BIN := $(ATOLL_VENV)/bin
# Crates without Python in them: their tests run in any environment.
PURE := -p atoll-core -p atoll-codec -p atoll-share
# Rust code that looks for a Python at compile time gets the environment's.
WITH_PYTHON := PYO3_PYTHON="$$(cd $(BIN) && pwd -P)/python"

# Room for 15 isolates: glibc reads this when a process starts. Without it about five fit.
WITH_ROOM := GLIBC_TUNABLES="$${GLIBC_TUNABLES:+$$GLIBC_TUNABLES:}glibc.rtld.nns=16"

.PHONY: help build demo test test-rust loom test-python soak lint lint-rust lint-python format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## virtual environment, dependencies and the release build of atoll
	@scripts/build

demo: build ## measure every module of the standard library on all cores (ARGS="--path DIR")
	@$(BIN)/atoll demo $(ARGS)

test: lint test-rust loom test-python ## lints, Rust tests, loom models, Python tests

test-rust: build ## tests of the Rust crates
	@if cargo nextest --version >/dev/null 2>&1; then \
	  $(WITH_PYTHON) cargo nextest run $(PURE) -p atoll-host --no-fail-fast; \
	else \
	  echo "cargo-nextest is not installed: using cargo test (install it with 'cargo install --locked cargo-nextest')"; \
	  $(WITH_PYTHON) cargo test $(PURE) -p atoll-host --lib --tests --no-fail-fast; \
	fi
	@cargo test $(PURE) --doc --quiet

loom: ## exhaustive models of the concurrent parts (crates/core/tests/loom_*.rs)
	@RUSTFLAGS="--cfg loom $${RUSTFLAGS:-}" CARGO_TARGET_DIR="$(CARGO_TARGET_DIR)/loom" \
	  cargo test -p atoll-core --release --test 'loom*' --quiet

test-python: ## Python tests (ARGS="-k select")
	@scripts/build test packages notebooks
	@$(WITH_ROOM) $(BIN)/python -m pytest $(ARGS)

soak: ## a mixed load on four isolates for 200 seconds (SECONDS=20)
	@scripts/build test packages
	@$(WITH_ROOM) $(BIN)/python -m tests.isolates.soak $(or $(SECONDS),200)

lint: lint-rust lint-python ## formatting, clippy, ruff, mypy

lint-rust: build
	@cargo fmt --all --check
	@$(WITH_PYTHON) cargo clippy --workspace --all-targets --quiet -- -D warnings

lint-python:
	@scripts/build test lint
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary

format: ## rewrite the sources in the project's format
	@scripts/build lint
	@cargo fmt --all
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

bench: ## Atoll beside its rivals; ARGS=--quick ends within a minute
	@scripts/build packages
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove what the commands above made, the virtual environment too
	@cargo clean --quiet
	@rm -rf "$(ATOLL_VENV)" python/atoll/_native.*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
