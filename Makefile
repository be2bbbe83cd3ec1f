# Needs git, make and Python 3.11 or newer; everything else goes into .venv, by versions and digests that are locked.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --quiet pyproject.toml

.PHONY: help venv doubles demo test lint soak bench dist docs lock clean

help:
	@echo "make demo    see a commit run, on this machine (KEEP=1 goes on serving)"
	@echo "make test    all tests; FORMICARY_REQUIRE=git,… fails instead of skipping what is missing"
	@echo "make lint    style, types and the rooms' borders"
	@echo "make soak    the long tests"
	@echo "make bench   how fast it is, beside the raw floor"
	@echo "make dist    the wheel and the source archive, in dist/"
	@echo "make docs    the parts of docs/ that are made from the program"
	@echo "make venv    only the environment"
	@echo "make doubles what tests of forges check requests with; needs npm"
	@echo "make lock    choose and lock newer versions"
	@echo "make clean   delete what was made"

venv: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "Python's venv is missing. Install it: sudo apt-get install -y python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Only the descriptions that are used are kept: the package has many, and they are large.
doubles: $(VENV)/doubles/.ready

$(VENV)/doubles/.ready: tests/doubles/package.json tests/doubles/package-lock.json | $(READY)
	@mkdir -p $(VENV)/doubles
	@cp $^ $(VENV)/doubles
	@npm ci --prefix $(VENV)/doubles --ignore-scripts --no-audit --no-fund --silent
	@find $(VENV)/doubles/node_modules/@octokit/openapi/generated -type f ! -name api.github.com.json -delete
	@touch $@

demo: $(READY)
	@$(BIN)/python examples/demo/demo.py

test: $(READY)
	@$(BIN)/python -m pytest -q -m "not soak"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.typing $(BIN)/lint-imports

soak: $(READY)
	@$(BIN)/python -m pytest -q -m soak

bench: $(READY)
	@$(BIN)/python bench/run.py
	@$(BIN)/python bench/engine.py
	@$(BIN)/python bench/containers.py

# The archive is made first, and the wheel from the archive; what earlier builds left behind gets into neither.
dist: $(READY)
	@rm -rf build dist *.egg-info
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" \
		$(BIN)/uv build --quiet --offline --no-build-isolation --out-dir dist .
	@rm -rf build *.egg-info
	@ls dist

docs: $(READY)
	@$(BIN)/python docs/diagrams.py
	@$(BIN)/python docs/commands.py
	@$(BIN)/python docs/keys.py
	@$(BIN)/python docs/recipes.py
	@$(BIN)/python docs/reference.py

lock: $(READY)
	@$(BIN)/$(LOCK) --group dev --output-file requirements.txt
	@$(BIN)/$(LOCK) --no-annotate --constraint requirements.txt --output-file requirements-run.txt
	@! grep -nE '://' requirements.txt requirements-run.txt || { echo "a lock names a host; it must not" >&2; exit 1; }

clean:
	rm -rf $(VENV) .demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
