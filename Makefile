# Every target sets up what it needs: the first one on a fresh machine makes .venv and installs the
# lock into it. The first Python 3.11 to 3.13 that runs is taken; choose another with PYTHON=:
#   make demo PYTHON=python3.12
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c '$(SUITS)' 2>/dev/null && { echo "$$p"; break; }; done)
CORES ?= 2
# One process more than cores: kills, Slurm and Chromium wait rather than compute
MORE = $(shell expr $(CORES) + 1)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# make demo BACKBONE=mobilenet_v2 WEIGHTS=imagenet and the like; unset: as in the corpus's card.
# The shell expands them, once: what they hold is never part of a command.
export PRESET BACKBONE WEIGHTS SEED OVERRIDES ONLY
CONFIG := $${PRESET:+"preset=$$PRESET"} $${BACKBONE:+"backbone=$$BACKBONE"} \
	$${WEIGHTS:+"weights=$$WEIGHTS"} $${SEED:+"seed=$$SEED"} \
	$${OVERRIDES:+"overrides=$$OVERRIDES"}

.DEFAULT_GOAL := help
.PHONY: help install slurm demo paper test test-all lab docs docs-notebooks lint lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# The marker is written last: an interrupted installation is never taken for a finished one.
$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c '$(SUITS)' 2>/dev/null || { \
		echo "no Python 3.11 to 3.13 ('$(PYTHON)'): install one, or name it with PYTHON=" >&2; \
		exit 2; }
	@echo "installing into $(VENV), a few minutes and 2.5 GB ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

install: $(READY)  ## make the environment in .venv

slurm: $(READY)  ## the workflow's plugin for Slurm clusters
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements-slurm.lock

demo: $(READY)  ## the whole chain on the embedded demo corpus (some minutes)
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores $(CORES) results/demo/report.html --rerun-incomplete \
		--quiet host reason --config $(CONFIG)
	@$(BIN)/dslite results demo

# From the committed records alone, also where other runs lie in results/ (dslite paper takes both).
paper: $(READY)  ## results/paper and the README's results, from the records, without training
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
		ln -s "$(CURDIR)/results/records" "$$folder/records" && \
		DSLITE_RESULTS="$$folder" $(BIN)/dslite paper results/paper --readme

test: $(READY)  ## what a contributor runs: minutes, in as many processes as CORES
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

test-all: $(READY)  ## with notebooks, kills, browsers, Slurm, backbones; ONLY="vgg16 or ..."
	$(BIN)/python -m pytest -m "not huge" -n $(MORE) --dist loadfile --no-loadscope-reorder $${ONLY:+-k "$$ONLY"}

lab: $(READY)  ## JupyterLab, opened at the start page of the collection
	$(BIN)/jupyter lab --notebook-dir=. notebooks/0_start.ipynb

# Warnings are errors, no notebook is executed, and every link is followed that leads to a file.
docs: $(READY)  ## the documentation as HTML, in build/docs
	rm -rf build/docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --builder html --doctree-dir build/doctrees \
		docs build/docs
	$(BIN)/python docs/links.py build/docs
	@echo "build/docs/index.html"

docs-notebooks: $(READY)  ## copies for the documentation of the notebooks that are executed in results/
	$(BIN)/python docs/copies.py

lint: $(READY)  ## ruff, who imports whom, and notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/nbstripout --verify notebooks/*.ipynb

lock: $(READY)  ## solve requirements.lock anew (needs uv)
	sed -n '/^#/p;/^[^#]/q' requirements.lock > requirements.lock.head
	uv pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
		--quiet --output-file requirements.lock.body
	cat requirements.lock.head requirements.lock.body > requirements.lock
	rm requirements.lock.head requirements.lock.body

clean:  ## remove the environment, the cache and the demo's results; your own results stay
	rm -rf $(VENV) .snakemake build docs/_generated data/cache results/demo
