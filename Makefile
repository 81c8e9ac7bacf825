.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: help setup browser run test test-all lint smoke readme notebooks benchmark lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

setup: .venv/installed ## Create the environment in .venv

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	@echo "installing PyTorch and all else into .venv: 6 GB, some five minutes"
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

browser: ## Install Chromium, which the page is tried in (Debian, as root)
	apt-get update -qq
	apt-get install -y -qq chromium chromium-driver

run: setup ## Train on handwritten digits, test, and draw the report
	$(BIN)/python -m src.train

test: setup ## Run the tests but for the slow ones, on up to four cores
	$(PYTEST) -m "not slow"

test-all: setup ## Run all tests, those of processes that are killed, the browser and notebooks too
	$(PYTEST)

lint: setup ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: setup ## Run the notebooks and write their outputs, text and .ipynb alike
	$(BIN)/jupytext --sync notebooks/*.ipynb
	$(BIN)/python notebooks/execute.py

smoke: setup ## Make every table of experiments/ at its smallest scale
	$(BIN)/python -m src.reproduce table=all scale=smoke

readme: setup ## Write the tables and numbers of all pages anew from results/
	$(BIN)/python -m src.readme

benchmark: setup ## Measure speed, growth and memory, and write the report
	$(BIN)/python -m src.benchmark

lock: ## Renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra pretrained --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet -o requirements.lock

clean: ## Remove the environment and all caches; data and outputs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
