# make demo   sets itself up, then pre-trains, evaluates and shows the result on an embedded data set
# make test   sets itself up, then formats-checks, lints, type-checks and tests
# make test-all   and those that take longer or need every extra: Ray, Optuna, W&B, MLflow, a browser
# make site   the documents as pages, into build/site
# make torture   what takes longer: faults injected at random, at most 30 minutes; summaries in build/torture/

PYTHON ?= python3
VENV ?= .venv
# The versions this was tested with; `make CONSTRAINTS= ...` takes the newest instead.
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

.PHONY: demo test style types tests test-all torture setup docs site clean

setup: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@echo "Setting up $(VENV) with PyTorch and the rest: some minutes, silent, the first time"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev]'
	touch $@

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

# Both at once: type-checking takes one processor the better part of a minute.
test: $(STAMP)
	$(MAKE) --no-print-directory --jobs=2 types tests

style: $(STAMP)
	$(BIN)/ruff format --check src tests conf speed studies scripts
	$(BIN)/ruff check src tests conf speed studies scripts

types: style
	$(BIN)/mypy

tests: style
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: test
	$(INSTALL) --editable '.[dev,all]'
	$(BIN)/python -m pytest -m 'slow or browser'

torture: $(STAMP)
	$(BIN)/python -m pytest -m torture -n 2 --dist loadfile --no-loadscope-reorder

docs: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/cli_reference.sh > docs/cli.md
	$(BIN)/python tests/config/test_messages.py > tests/config/messages.txt

site: $(STAMP)
	$(INSTALL) --editable '.[docs]'
	$(BIN)/zensical build --strict --config-file mkdocs.yml

clean:
	rm -rf $(VENV) build *.egg-info src/*.egg-info
