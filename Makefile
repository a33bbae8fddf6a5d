# Sets everything up by itself: only Python 3.11 or 3.12 with venv, git and make are needed.
PYTHON ?= $(firstword $(foreach name,python3.12 python3.11 python3,$(if $(shell $(name) -c "import venv" 2>&1 || echo no),,$(name))))
BIN := .venv/bin
REQUIREMENTS := requirements.txt requirements-common.txt requirements-cpu.txt
JAX_TESTS := models features training workflow learnware distillation experiments
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: run test test-slow test-lowest test-jax test-hub test-serve torture lint clean

run: .venv/installed
	@$(BIN)/invoke run --comp sprouts
	@echo
	@echo "look at   data/reports/sprouts/predictions.png, submissions/sprouts/latest.csv and the run's folder above"
	@echo "next      your own pictures, in class folders: invoke run --comp FOLDER, see docs/tutorial-own-pictures.md"
	@echo "next      a Kaggle competition: . .venv/bin/activate, then invoke run --comp dog-breed"

test: .venv/ready
	$(BIN)/python -m pytest --numprocesses 2

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

# On the lowest versions that the requirements allow, in an environment of its own: about two minutes to install, and 2 GB.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest --numprocesses 2

# What also runs on JAX, in an environment without TensorFlow. More options: make test-jax PYTEST="-m slow"
test-jax: .venv-jax/ready
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest --numprocesses 2 $(addprefix tests/,$(JAX_TESTS)) $(PYTEST)

# The tests of KerasHub's presets. It lies beside the environment's packages, not among them: 38 MB.
test-hub: .venv/hub/ready
	PYTHONPATH=.venv/hub $(BIN)/python -m pytest tests/*/test_hub_*.py

# The page of `invoke serve` in Chromium, which must be installed. Gradio lies beside the environment's packages: 250 MB.
test-serve: .venv/serve/ready
	PYTHONPATH=.venv/serve $(BIN)/python -m pytest tests/serving -m "slow or not slow"

# Damaged files, hostile inputs and kills: about 20 minutes, after the trials of the last call. Counts add up in build/torture.json.
torture: .venv/ready
	$(BIN)/python -m benchmarks.torture

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy pipeline competitions tasks.py

.venv/installed: $(REQUIREMENTS) pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "Python is missing. Install Python 3.11 or 3.12, or name it: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || { echo "$(PYTHON) is $$($(PYTHON) --version); Python 3.11 or 3.12 is needed: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { echo "$(PYTHON) lacks venv. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@command -v git >/dev/null || { echo "git is missing. On Debian or Ubuntu: apt install git" >&2; exit 1; }
	@echo "installing into .venv: about two minutes, and 2 GB"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -r requirements.txt && $(INSTALL) --no-deps --editable . || { echo "The packages could not be installed: is the package index reachable, and is there 3 GB of room?" >&2; exit 1; }
	@touch $@

.venv/ready: .venv/installed requirements-dev.txt
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

.venv/hub/ready: .venv/ready requirements-hub.txt
	@$(INSTALL) --no-deps --upgrade --target .venv/hub -r requirements-hub.txt
	@touch $@

.venv/serve/ready: .venv/ready requirements-serve.txt
	@$(INSTALL) --upgrade --target .venv/serve -r requirements-serve.txt "playwright>=1.55,<2"
	@touch $@

.venv-lowest/ready: $(REQUIREMENTS) requirements-dev.txt .ci/lowest
	@$(PYTHON) -m venv --clear .venv-lowest
	@$(PYTHON) .ci/lowest > .venv-lowest/constraints.txt
	@.venv-lowest/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c .venv-lowest/constraints.txt
	@touch $@

.venv-jax/ready: requirements-jax.txt requirements-common.txt requirements-dev.txt
	@$(PYTHON) -m venv --clear .venv-jax
	@grep --invert-match "^-r" requirements-dev.txt > .venv-jax/dev.txt
	@.venv-jax/bin/pip install --quiet --disable-pip-version-check -r requirements-common.txt -r requirements-jax.txt -r .venv-jax/dev.txt
	@touch $@

clean:
	rm -rf .venv .venv-lowest .venv-jax
