# `make run` and `make test` set up what they need; everything else assumes that one of them has run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RECIPE ?= smallest
# Stages call `python`: DVC must find the environment's own first.
export PATH := $(abspath $(BIN)):$(PATH)
# Threads that spin while they wait starve their neighbours on a small machine: see docs/decisions.md.
export GOMP_SPINCOUNT ?= 3000

.PHONY: run doctor up down test test-slow test-image style quality docs audit sbom help
.DEFAULT_GOAL := help

help:
	@echo "make run        set up, compress with a chain of recipes (RECIPE=tinybert for another), show what came out"
	@echo "make doctor     look at the whole set-up, and say what to do about each fault (RECIPE=… for one recipe)"
	@echo "make test       set up, run the tests"
	@echo "make test-slow  the tests that run whole recipes, real servers and injected faults"
	@echo "make test-image build the image with buildah, and run a recipe and compose's services in it"
	@echo "make up         start a Prefect server, an MLflow server and a worker on this machine, and deploy all flows"
	@echo "make down       stop just those"
	@echo "make style      format"
	@echo "make quality    lint, format and type checks"
	@echo "make docs       the site of docs/, into site/; a broken link is an error"
	@echo "make sbom       a bill of materials of the pinned packages: sbom.json"
	@echo "make audit      known vulnerabilities of the pinned packages (asks the Python package index)"

run: $(VENV)/ready
	python -m flows.compress $(RECIPE)

doctor: $(VENV)/ready
	python -m flows.doctor $(RECIPE)

up: $(VENV)/ready
	python -m flows.servers up

down: $(VENV)/ready
	python -m flows.servers down

TESTS := OMP_NUM_THREADS=1 python -m pytest --dist worksteal

test: $(VENV)/ready
	$(TESTS) --numprocesses auto -m "not slow and not image"

# One more than there are cores: these tests wait for a third of their time.
test-slow: $(VENV)/ready
	$(TESTS) --numprocesses $$(($$(nproc) + 1)) -m slow $(TRIES)

# One process: the tests share an image. BUILD has build arguments; BASE=debootstrap does without a registry of images.
test-image: $(VENV)/ready
	STILLHOUSE_IMAGE_BUILD="$(BUILD)" python -m pytest -m image tests/deploy

style: $(VENV)/ready
	ruff check --fix .
	ruff format .

quality: $(VENV)/ready
	ruff check .
	ruff format --check .
	mypy

# The variable: Material says at each build that its end of life is in 2027 (docs/decisions.md).
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build

# Strict: without it, packages that could not be looked up pass as free of faults.
audit: $(VENV)/audit/ready
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

sbom: $(VENV)/audit/ready
	$(VENV)/audit/bin/cyclonedx-py requirements --output-reproducible --of JSON --pyproject pyproject.toml -o sbom.json constraints.txt

# An environment of its own: the pinned one stays as it is.
$(VENV)/audit/ready: Makefile
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

ifdef STILLHOUSE_IMAGE_ENVIRONMENT
# The image's, which is nobody's to change: the doctor says where a clone's constraints.txt pins other versions.
$(VENV)/ready:
	@echo "error: VENV=$(VENV): the image has no environment there" >&2; exit 2
else
# Rebuilt when what is to be installed changes.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[pipeline,dev,docs]"
	touch $@
endif
