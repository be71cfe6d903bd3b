# Needs make and Python 3.11 or newer, nothing else. `make` says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FRESH := build/venv

.DEFAULT_GOAL := help
.PHONY: help demo test model check up chaos soak bench constraints clean

help:  ## say this
	@echo 'make demo         play it all against pretend vendors; KEEP=1 leaves it running'
	@echo 'make test         all tests; ARGS="-k callbacks -x" goes to pytest'
	@echo 'make model        simulate searches and lookups against an oracle; MINUTES=, SEED='
	@echo 'make check        ruff, mypy'
	@echo 'make chaos        ten minutes of faults against a ledger; MINUTES=, SEED=, LOOKUPS='
	@echo 'make soak         half an hour of steady work, and whether anything grows; MINUTES=, RATE=, SEED='
	@echo 'make bench        ours beside the limit and the peers; make bench-lookups: one row'
	@echo 'make up           all processes on this machine, settings from the environment'
	@echo 'make constraints  pin what is installed when everything is as new as it can be'
	@echo 'make clean        remove what the others made, but no database'

demo: $(READY)
	@$(BIN)/ringback demo $(if $(KEEP),--keep) $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

model: $(READY)
	@$(BIN)/python -m tests.model $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

up: $(READY)
	@$(BIN)/ringback up $(ARGS)

chaos: $(READY)
	@$(BIN)/python -m chaos $(ARGS)

soak: $(READY)
	@$(BIN)/python -m chaos.soak $(ARGS)

bench: $(READY) $(VENV)/.peers
	@$(BIN)/python -m bench $(ARGS)

bench-%: $(READY) $(VENV)/.peers
	@$(BIN)/python -m bench $* $(ARGS)

# What only the benchmark compares with.
$(VENV)/.peers: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

# Everything is installed, in the versions of constraints.txt; again only when those files change.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'Ringback needs Python 3.11 or newer, and $(PYTHON) is not. Remedy: install one, and name it:' \
	         '"make PYTHON=python3.12 ..."' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# In an environment of its own, so that nothing is pinned that nobody asks for.
constraints:
	rm -rf $(FRESH)
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	echo '# Every package, pinned. Made by `make constraints`; do not edit.' > constraints.txt
	$(FRESH)/bin/python -m pip freeze --exclude-editable --disable-pip-version-check >> constraints.txt
	rm -rf $(FRESH)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
