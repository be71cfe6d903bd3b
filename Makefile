# Needs make and Python 3.11 or newer, nothing else. `make` says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is installed: the product alone, with what tests it, with what measures it beside others.
PRODUCT := $(VENV)/.product
READY := $(VENV)/.ready
MEASURES := $(VENV)/.measures
FRESH := build/venv
# Without byte code: the first run makes it for the few modules that it needs.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# Many tests wait for processes and sockets: two workers more than there are cores.
WORKERS ?= $(shell expr 2 + $$(nproc 2>/dev/null || echo 2))

.DEFAULT_GOAL := help
.PHONY: help demo test model check freeze up chaos attacks fuzz failover soak bench screenshots constraints clean

help:  ## say this
	@echo 'make demo         play it all against pretend vendors; KEEP=1 leaves it running, CRM=hubspot plays only that'
	@echo 'make test         all tests; ARGS="-k callbacks -x" goes to pytest, WORKERS=0 runs them one by one'
	@echo 'make model        simulate searches and lookups against an oracle; MINUTES=, SEED='
	@echo 'make check        ruff, mypy'
	@echo 'make freeze       measure the locks of a new step of schema.sql, and write store/steps.json'
	@echo 'make chaos        ten minutes of faults against a ledger; MINUTES=, SEED=, LOOKUPS=, STANDBY=1'
	@echo 'make failover     a primary or its standby dies, again and again, under load; ROUNDS=, SEED='
	@echo 'make attacks      each known attack on a receiver, and the harm; ARGS="garbage idle-sockets": only these'
	@echo 'make fuzz         hostile inputs for every parser, the API and the socket; MINUTES=, SEED='
	@echo 'make soak         half an hour of steady work, and whether anything grows; MINUTES=, RATE=, SEED='
	@echo 'make bench        ours beside the limit and the peers; make bench-lookups: one row'
	@echo 'make up           all processes on this machine, settings from the environment'
	@echo 'make screenshots  pictures of every page of the dashboard, for docs/screenshots'
	@echo 'make constraints  pin what is installed when everything is as new as it can be'
	@echo 'make clean        remove what the others made, but no database'

# The tests' environment will do for the product, too.
demo: $(or $(wildcard $(READY)),$(PRODUCT))
	@$(BIN)/ringback demo $(if $(KEEP),--keep) $(if $(CRM),--crm $(CRM)) $(ARGS)

# Hundreds of processes start: the byte code of the first serves the others, even where the environment forbids it.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

model: $(READY)
	@$(BIN)/python -m tests.model $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

freeze: $(READY)
	@$(BIN)/python -m tests.freezing

screenshots: $(MEASURES)
	@$(BIN)/python -m tests.screenshots

up: $(or $(wildcard $(READY)),$(PRODUCT))
	@$(BIN)/ringback up $(ARGS)

# Variables that are given on the command line are in the environment of what make runs.
chaos: $(MEASURES)
	@$(BIN)/python -m chaos $(ARGS)

attacks: $(READY)
	@$(BIN)/python -m chaos.attacks $(ARGS)

fuzz: $(READY)
	@$(BIN)/python -m tests.fuzz $(ARGS)

failover: $(READY)
	@$(BIN)/python -m chaos.failover $(ARGS)

soak: $(MEASURES)
	@$(BIN)/python -m chaos.soak $(ARGS)

bench: $(MEASURES)
	@$(BIN)/python -m bench $(ARGS)

bench-%: $(MEASURES)
	@$(BIN)/python -m bench $* $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'Ringback needs Python 3.11 or newer, and $(PYTHON) is not. Remedy: install one, and name it:' \
	         '"make PYTHON=python3.12 ..."' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Each in the versions of constraints.txt; again only when these files change.
$(PRODUCT): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $@

$(MEASURES): $(READY)
	$(INSTALL) -e '.[dev,bench]'
	@touch $@

# In an environment of its own, so that nothing is pinned that nothing asks for.
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
