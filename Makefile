# Every target makes its own virtual environment in .venv; nothing has to be prepared but Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint types bench clean

demo: $(VENV)/.installed-all
	$(BIN)/nodewise demo

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 --dist loadgroup --durations 60

test-all: $(VENV)/.installed-dev
	NODEWISE_TEST_ALL=1 $(BIN)/pytest -n 2 --dist loadgroup --durations 60

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/read.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/strategies.py
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/emulation.py
	$(BIN)/python benchmarks/whatif.py
	$(BIN)/python benchmarks/whatif.py --validate
	$(BIN)/python benchmarks/advise.py
	$(BIN)/python benchmarks/forecast.py
	$(BIN)/python benchmarks/meter_overhead.py
	$(BIN)/python benchmarks/write_docs.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nodewise needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

# The stamps keep make from asking pip each time; a change of the requirements makes them stale.
$(VENV)/.installed-all: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing nodewise and its engines into $(VENV) (a few minutes the first time)"
	$(INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing nodewise, its engines and the test tools into $(VENV) (a few minutes the first time)"
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed-all
