# One command a wish; `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Bytecode is made at set-up; a part that writes more of it would only slow the others down.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup setup-fast setup-tests up down test test-full test-fast test-aws test-engine test-platform test-molecule \
  test-image test-workloads test-report lint report screenshots images decisions check-spec bench scores lock clean-cache

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the project needs on this machine (root)
	@toolchain/setup.sh

setup-fast:
	@toolchain/setup.sh --without-root

setup-tests:
	@toolchain/setup.sh --tests

up: setup ## run the whole platform on this machine, and verify it
	@$(PYTHON) -m infra.lifecycle up

# Set up only where it has to be, which would ask for the network.
down: ## remove every trace of it
	@$(PYTHON) -c 'import infra.lifecycle' 2>/dev/null || toolchain/setup.sh
	@$(PYTHON) -m infra.lifecycle down

check-spec: setup-fast ## validate platform.yaml; changes nothing
	@$(PYTHON) -m infra.spec platform.yaml

images: setup-fast ## list the golden images: stage, expiry, who uses them
	@ansible-playbook playbooks/image_lifecycle.yml

decisions: setup-fast ## write the decision records of platform.yaml
	@$(PYTHON) -m infra.placement decisions

report: setup-fast ## write the page for the wall, build/report.html
	@$(PYTHON) -m infra.insight report

screenshots: setup-tests ## show the page of the running platform in the README (docs/images)
	@$(PYTHON) -m infra.insight report
	@$(PYTHON) -m tests.report.screenshots build/report.html docs/images

# In a home of its own: a copy of the collection that is installed in the usual one would be read instead of this.
lint: setup-fast ## ruff, mypy, yamllint, ansible-lint, changelog fragments
	ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	ANSIBLE_HOME=$(CURDIR)/build/lint ansible-lint -q
	antsibull-changelog lint

test-fast: setup-fast ## unit tests and recorded AWS graphs; no root, no machines
	$(PYTEST) tests/unit tests/aws

test-workloads: setup-fast ## the reference programs
	cd workloads && go test ./...

test-report: setup-tests ## the report in a real browser
	$(PYTEST) tests/report

test-engine: setup-fast ## the whole AWS program under the real engine, with a provider that makes nothing
	$(PYTEST) tests/engine

test-platform: setup setup-tests ## the running platform, on a stack and state directory of its own
	$(PYTEST) tests/platform

test-image: setup ## a golden image: sealed, two clones differ, what stands beside it is valid
	$(PYTEST) tests/image -m "not virtual_machines"

test-molecule: setup ## the default Molecule scenario, on machines from the golden image
	molecule test

test: setup-tests lint test-fast test-workloads test-report test-engine test-platform test-image test-molecule ## all tests, the cheap way (what CI runs)

test-full: test ## everything: also every Molecule scenario, and the platform on real virtual machines
	molecule test --all
	$(PYTEST) tests/image -m virtual_machines
	$(MAKE) scores
	HYBRID_PLATFORM_TEST_DRIVER=qemu $(PYTEST) tests/platform -m looks_only

test-aws: setup-fast ## pulumi up, up and destroy against AWS emulators, where the AWS plugin is installed
	@$(PYTHON) tests/aws/emulator/run.py

bench: setup ## measure; figures are kept in benchmarks/README.md
	$(PYTHON) benchmarks/preview.py
	$(PYTHON) benchmarks/roles/hardening/speed.py $(if $(COLLECTIONS),--collections $(COLLECTIONS))
	$(PYTHON) benchmarks/roles/patching/speed.py
	$(PYTHON) benchmarks/roles/golden_image/build.py

scores: setup ## scan machines before and after hardening; fails where it got worse (MACHINES=, RECORD=1)
	$(PYTHON) benchmarks/roles/hardening/scores.py $(if $(RECORD),--record) $(MACHINES)

lock: ## write requirements.txt anew from requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --upgrade requirements.in -o requirements.txt

clean-cache: setup-fast ## remove compiled programs, and golden images that are neither in use nor promoted
	@$(PYTHON) -m infra.lifecycle clean-cache
