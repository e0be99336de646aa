# make book and make test are all a fresh clone needs: both set up .venv first.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PROFILE ?= full
RUN := .venv/bin/python
COLAB := _build/colab/venv/bin/python
CHAPTERS ?= chapters
# pip must not ask, nor speak of its own updates
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

PATHS := vae_helpers press tests benchmarks chapters/colab.py chapters/conftest.py

.PHONY: help book test check colab chapters retrain classifier measure sweeps benchmarks mutants personalise clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: .venv/installed ## execute the chapters, render the site to _build/html (PROFILE=smoke: on drawn garments)
	@$(RUN) -m press book --profile $(PROFILE)

test: .venv/installed ## lint, unit tests, and every chapter against its stored outputs
	@$(RUN) -m press data || echo 'Tests that need the real images are skipped.'
	$(RUN) -m ruff check $(PATHS)
	$(RUN) -m ruff format --check $(PATHS)
	@rm -rf _build/cells && mkdir -p _build && $(RUN) -m jupytext -q --to ../_build/cells//ipynb chapters/[0-9]*.md
	$(RUN) -m ruff check --config line-length=79 --ignore E402,PT018 _build/cells
	$(RUN) -m ruff format --check --config line-length=79 _build/cells
	$(RUN) -m pytest -n 2 --dist loadfile --nbval

check: .venv/installed ## what is slow or needs a browser: the site's pages, notebooks on their own
	$(RUN) -m pytest -n 2 --dist loadfile tests/site tests/slow

colab: _build/colab/installed ## every chapter against its stored outputs under Colab's versions (some: CHAPTERS="chapters/02_model.ipynb …")
	@$(COLAB) -m press data || echo 'The chapters run on drawn garments; nothing is compared.'
	$(COLAB) -m pytest -n 2 --dist loadfile --nbval $(CHAPTERS)

chapters: .venv/installed ## execute the chapters and store their outputs in chapters/ (needs Fashion-MNIST)
	@$(RUN) -m press chapters

retrain: .venv/installed ## train every VAE from nothing (can be interrupted and called again); then: make measure chapters
	@VAE_RETRAIN=1 $(RUN) -m press train --all
	@mv -v _build/retrained/checkpoints/*.safetensors assets/checkpoints/

classifier: .venv/installed ## train the classifier that judges samples from nothing (half an hour); then: make measure chapters
	@VAE_RETRAIN=1 $(RUN) -m press train classifier
	@mv -v _build/retrained/checkpoints/classifier.safetensors assets/checkpoints/

measure: .venv/installed ## make the tables of costly numbers that are missing or stale (can be interrupted, too)
	@$(RUN) -m press measure --all

sweeps: .venv/installed ## make the tables of trainings that are missing or stale (hours; can be interrupted, too)
	@$(RUN) -m press sweep --all

benchmarks: .venv/installed ## time again what the performance page shows, on an idle machine
	$(RUN) benchmarks/bench_training.py --quality --store
	for one in loading files metrics import growth cluster; do \
	    $(RUN) benchmarks/bench_$$one.py --store; done

mutants: .venv/installed ## put small errors into the modules that changed (MODULES=…) and see whether the unit tests find them
	@$(RUN) tests/mutants.py $(MODULES)

# Neither make nor the shell may expand what a name contains.
personalise: export NEW_AUTHOR = $(value AUTHOR)
personalise: export NEW_REPO = $(value REPO)
personalise: .venv/installed ## change author and repository everywhere: make personalise AUTHOR="Your Name" REPO=user/name
	@$(RUN) -m press personalise \
	    $(if $(filter-out undefined,$(origin AUTHOR)),--author="$$NEW_AUTHOR") \
	    $(if $(filter-out undefined,$(origin REPO)),--repo="$$NEW_REPO")

clean: ## remove what was built; .venv and data stay
	rm -rf _build

# With LOCKED=1, as in .github/workflows, nothing is installed but files whose hashes are known.
REQUIREMENTS := $(if $(LOCKED),--require-hashes -r requirements.lock,-c constraints.txt -r requirements.txt)

# The stamp is written last, so an interrupted installation is simply continued.
.venv/installed: requirements.txt constraints.txt requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "The book needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Installing PyTorch, Jupyter Book and the test tools into .venv (the first time: about two minutes, 3 GB of downloads)"
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install -q $(REQUIREMENTS)
	@$(RUN) -m pip install -q --no-deps -e .
	@# The press is in no wheel, but scripts and cluster workers of this environment import it, too.
	@$(RUN) -c 'import pathlib, sysconfig; \
	    pathlib.Path(sysconfig.get_path("purelib"), "book.pth").write_text(f"{pathlib.Path.cwd()}\n")'
	@touch $@

# Python as Colab has it, where there is one. What a chapter's first cell would install there, too, is
# left to it; pytest and nbval alone come from elsewhere.
_build/colab/installed: constraints-colab.txt constraints.txt pyproject.toml chapters/colab.py
	@echo "Installing what Colab has into _build/colab (the first time: two to four minutes)"
	@"$$(python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))" -m venv _build/colab/venv
	@$(COLAB) -m pip install -q -c constraints-colab.txt $$(sed -n 's/^\([a-z-]*\)==.*/\1/p' constraints-colab.txt) \
	    pytest pytest-timeout pytest-xdist nbval
	@PIP_CONSTRAINT=constraints-colab.txt $(COLAB) chapters/colab.py
	@touch $@
