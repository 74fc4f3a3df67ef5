# make train: the main job on the built-in data. make test: the tests. Each takes a fresh clone all the way.
VENV := .venv
PYTHON ?= python3
INSTALLED := $(VENV)/.installed

.PHONY: train test test-all lint clean

train: $(INSTALLED)
	$(VENV)/bin/python -m safe_exp.train

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

test-all: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m "slow or not slow"

lint: $(INSTALLED)
	$(VENV)/bin/ruff format --check . .ci/audit
	$(VENV)/bin/ruff check . .ci/audit
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

# Installed once, and again only when what is to be installed changes.
$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing safe_exp and what it needs into $(VENV): about three minutes, 2 GB."
	$(VENV)/bin/python -m pip install --quiet --progress-bar off -e ".[dev]"
	@touch $(INSTALLED)

clean:
	rm -rf $(VENV)
