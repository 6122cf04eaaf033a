# Everything a founder or a stranger runs, by name. `make story` and `make test` need Python 3.11 or 3.12, and make.

PYTHON ?= $(shell for each in python3.11 python3.12 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$each && break; done)
LOCK := requirements-dev.lock
BIN := .venv/bin

.PHONY: help story test test-all image check format docs lock clean

help:
	@echo 'make story    set up and turn specs/quickstart.yaml into out/quickstart'
	@echo 'make test     set up and run the tests'
	@echo 'make test-all the same with the long sweeps'
	@echo 'make image    build the image and try it'
	@echo 'make check    lint, formatting, types'
	@echo 'make format   put the code in form'
	@echo 'make docs     write docs/reference.md from the code and build the site into site/'
	@echo 'make lock     resolve the dependencies anew into the hashed locks'
	@echo 'make clean    remove the environment and what stories left'

story: .venv/ready
	$(BIN)/kolora run specs/quickstart.yaml -o out/quickstart

test: .venv/ready
	$(BIN)/python -m pytest -n 2 -m 'not sweep'

test-all: .venv/ready
	$(BIN)/python -m pytest -n 2

# On a machine without an engine, ENGINE names a program that brings one and then builds like `docker build`.
ENGINE ?= $(firstword $(wildcard ../shared/tools/docker-engine) docker)

image: .venv/ready
	docker/build $(ENGINE) kolora
	$(BIN)/python -m pytest docker/contract -n 2 --dist worksteal --image kolora

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Without the network. A link that leads nowhere is an error, which --quiet would hide. `mkdocs serve` shows the site
# while it is written, with its search.
docs: .venv/ready
	$(BIN)/python tools/reference.py docs/reference.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo 'the site is site/index.html'

# uv is one of the locked packages; it is put in first because it installs the rest several times faster than pip,
# and is told of the mirror that pip uses here, if any. pip does it where uv cannot.
.venv/ready: $(LOCK) pyproject.toml
	@test -n '$(PYTHON)' || { echo 'kolora needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Setting up .venv from $(LOCK): about 6 GB, once'
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\]$$/p' $(LOCK) > .venv/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.txt
	@index=$$($(BIN)/pip config get global.index-url 2>/dev/null); export $${index:+UV_DEFAULT_INDEX=$$index} UV_LINK_MODE=copy; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r $(LOCK) || \
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(LOCK)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: .venv/ready
	$(BIN)/uv pip compile pyproject.toml -c constraints.in -o requirements.lock $(RESOLVE)
	$(BIN)/uv pip compile pyproject.toml --extra dev -c constraints.in -c requirements.lock -o $(LOCK) $(RESOLVE)

RESOLVE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

clean:
	rm -rf .venv out site .mypy_cache .ruff_cache .pytest_cache
