# Sets everything up by itself: only Python 3.11 or newer with venv, git and make are needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: test test-slow lint clean

.venv/ready: requirements.txt requirements-common.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

test: .venv/ready
	$(BIN)/python -m pytest

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy pipeline competitions tasks.py

clean:
	rm -rf .venv
