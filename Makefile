PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EXTRAS := $(VENV)/.installed-extras

.PHONY: demo explorer test test-engines test-pages test-lowest lint types check bench docs dist clean

demo: $(STAMP)  ## the quickstart sweep: a table on the terminal and a figure (about 4 minutes on 2 cores)
	$(BIN)/dmdlab sweep experiments/quickstart.toml --out runs/quickstart

explorer: $(STAMP)  ## runs for a class, and runs/explorer.html that shows them (about 3 minutes of CPU time)
	$(BIN)/dmdlab sweep experiments/explorer.toml --out runs/explorer
	$(BIN)/dmdlab explore runs/explorer --out runs/explorer.html

test: $(STAMP)  ## the whole default test run (no GPU needed)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

test-engines: $(EXTRAS)  ## Ray, several workers on one store, injected faults, and long tests (minutes)
	$(BIN)/python -m pytest --numprocesses 2 --maxschedchunk 1 --durations 8 -m "(ray or chaos or long) and not slow"

test-pages: $(EXTRAS)  ## the pages in a real Chromium, and the lessons' notebooks (minutes)
	$(BIN)/python -m pytest -m "(browser or lessons) and not slow"

test-lowest:  ## the default tests with the oldest libraries that pyproject.toml allows, in $(VENV)-lowest (minutes; 6 GB)
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.[dev]'
	$(VENV)-lowest/bin/python -m pytest --numprocesses auto --maxprocesses 4

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)  ## measured ratios, side by side in one run, into docs/performance.md (about 40 minutes on a CPU)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.report

docs: $(EXTRAS)  ## the documentation site, docs/_build/html/index.html (about half a minute)
	PYTHONPATH=docs $(BIN)/python docs/_generate.py docs/_build/source
	$(BIN)/python -m sphinx -q -W --keep-going -c docs docs/_build/source docs/_build/html

dist: $(STAMP)  ## wheel and sdist, in dist/ (seconds)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,dist]'
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist docs/_build .pytest_cache .mypy_cache .ruff_cache

$(EXTRAS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,ray,tables,lessons,docs,dist,browser,digits]'
	touch $@

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
