# make train: the main job on the built-in data. make test: the tests. Each takes a fresh clone all the way.
VENV := .venv
PYTHON ?= python3
INSTALLED := $(VENV)/.installed
NEXT := .venv-next
NEXT_INSTALLED := $(NEXT)/.installed

.PHONY: train test test-all test-next lint package clean

train: $(INSTALLED)
	$(VENV)/bin/python -m safe_exp.train

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

test-all: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m "slow or not slow"

# The tests of what depends on Hydra, OmegaConf and Optuna, with their coming versions.
test-next: $(NEXT_INSTALLED)
	$(NEXT)/bin/python -m pytest -q -n $(or $(JOBS),auto) -m "slow or not slow" \
	  tests/config tests/cli/test_compat.py tests/sweep/test_composing.py \
	  tests/sweep/test_compat.py::test_a_study_goes_on_with_the_trials_and_the_numbers_that_it_is_told \
	  tests/sweep/test_sweep.py::test_a_sweep_by_name_runs_without_m_goes_on_after_a_failure_and_says_so \
	  tests/sweep/test_sweep.py::test_a_study_is_resumed_to_its_number_of_trials_without_repeating_a_suggestion

lint: $(INSTALLED)
	$(VENV)/bin/ruff format --check . .ci/audit .ci/constraints
	$(VENV)/bin/ruff check . .ci/audit .ci/constraints
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

package: $(INSTALLED)
	rm -rf dist
	$(VENV)/bin/python -m build --quiet
	$(VENV)/bin/python -m twine check --strict dist/*

# Installed once, and again only when what is to be installed changes.
$(INSTALLED): pyproject.toml constraints/tested.txt
	$(PYTHON) -m venv $(VENV)
	@echo "Installing safe_exp and what it needs into $(VENV): about three minutes, 2 GB."
	$(VENV)/bin/python -m pip install --quiet --progress-bar off -c constraints/tested.txt -e ".[dev]"
	@touch $(INSTALLED)

# A layer over the first environment, which holds the packages of constraints/next.txt alone.
$(NEXT_INSTALLED): $(INSTALLED) constraints/next.txt
	rm -rf $(NEXT)
	$(VENV)/bin/python -m venv --without-pip $(NEXT)
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'), '$(CURDIR)/src', sep='\n')" \
	  > "$$($(NEXT)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/layer.pth"
	$(VENV)/bin/python -m pip --python $(NEXT)/bin/python install --quiet --no-deps -r constraints/next.txt || \
	  { echo "The coming versions in constraints/next.txt cannot be installed; pip says above which and why." >&2; exit 1; }
	@touch $(NEXT_INSTALLED)

clean:
	rm -rf $(VENV) $(NEXT)
