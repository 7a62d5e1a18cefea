# Two commands on a fresh machine: `make demo` shows the product, `make test` passes its tests.
# A private checkout is set up, and works, in a copy that the appliance's uids can read (see bootstrap).
TREE = $(shell ./bootstrap --where)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PYTHON = cd $(TREE) && .venv/bin/python
ROOT_PYTHON = cd $(TREE) && $(SUDO) .venv/bin/python

.PHONY: help setup demo test provision requirements verify-lab unit lint format mutations fuzz bench images dist lab-down lock clean

help:           ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 16

setup:          ## install what is missing: Debian packages, virtual environment, Docker engine
	@./bootstrap

demo: setup     ## a closed lab Internet, real hardened containers: what they may have and what they may not
	@$(ROOT_PYTHON) -m tests.lab.demo

test: setup      ## everything: linters, types, structure, unit, fuzz seeds, real containers
	@$(ROOT_PYTHON) -m pytest -n 2

verify-lab: setup ## every known attack, each with a live canary, at each layer: CASE=A4 LAYER=kernel for some
	@cd $(TREE) && $(SUDO) .venv/bin/egress verify $(addprefix --case ,$(CASE)) $(addprefix --layer ,$(LAYER))

requirements: setup ## which required behaviour is proved by which test: runs them and prints the table
	@$(ROOT_PYTHON) -m tests.requirements

unit: setup     ## the tests that need no root and no engine
	@$(PYTHON) -m pytest tests/unit tests/fuzz

lint: setup     ## linters and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

format: setup   ## let ruff format the tree
	@$(TREE)/.venv/bin/python -m ruff format .
	@$(TREE)/.venv/bin/python -m ruff check --fix .

mutations: setup ## take away every protection in turn: its case of the battery must fail
	@$(ROOT_PYTHON) -m tests.escape.mutate

fuzz: setup     ## hours of fuzzing: TARGET=one (default: all in turn) SECONDS=for each (default: 1800)
	@$(PYTHON) -c 'import atheris' 2>/dev/null || { $(PYTHON) -m pip install -q -e '.[fuzz]'; }
	@cd $(TREE) && nice -n 10 .venv/bin/python -m tests.fuzz.run --seconds $(or $(SECONDS),1800) $(TARGET)

bench: setup    ## ratios against peers, measured in the same run: WHICH="plain tunnel" for some, ROUNDS=5
	@cd $(TREE) && tests/bench/setup
	@$(ROOT_PYTHON) -m tests.bench --rounds $(or $(ROUNDS),5) --picture $(WHICH)

provision: setup ## the Ansible roles on fresh Debian 12 and 13 hosts: install, reboot, upgrade, rollback, removal: HOSTS=debian12 for one
	@cd $(TREE) && $(SUDO) ansible/setup
	@$(ROOT_PYTHON) -m tests.provision --checkout $(CURDIR) $(HOSTS)

images: setup   ## the runner images, from signed Debian packages
	@$(ROOT_PYTHON) images/build.py

dist: setup     ## wheel, source distribution, lock, checksums of HEAD in dist/: SIGNING_KEY=file-or-gpg-name signs them
	@PYTHON=$(TREE)/.venv/bin/python SIGNING_KEY='$(SIGNING_KEY)' ./release

lab-down: setup ## remove what an interrupted demo or test left behind
	@$(ROOT_PYTHON) -m tests.lab.demo --down

lock: setup     ## renew requirements.lock, and appliance.lock without what development needs, from pyproject.toml
	@$(TREE)/.venv/bin/python -m pip install -q pip-tools
	@$(TREE)/.venv/bin/python -m piptools compile -q --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header -o requirements.lock pyproject.toml
	@$(TREE)/.venv/bin/python -m piptools compile -q --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --allow-unsafe --strip-extras --no-header -c requirements.lock -o appliance.lock pyproject.toml

clean:          ## remove the virtual environment and what tools left, in the checkout and in its copy
	$(SUDO) rm -rf $(foreach place,. $(TREE),$(addprefix $(place)/,.venv build dist .ruff_cache))
