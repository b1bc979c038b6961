# One command a wish; `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PULUMI := .tools/bin/pulumi
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup setup-fast up down test test-full test-fast test-aws lint report decisions check-spec bench lock clean-cache

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the project needs on this machine (root)
	@toolchain/setup.sh

setup-fast:
	@toolchain/setup.sh --without-root

up: setup ## run the whole platform on this machine, and verify it
	@$(PYTHON) -m infra.lifecycle up

down: setup ## remove every trace of it
	@$(PYTHON) -m infra.lifecycle down

check-spec: setup-fast ## validate platform.yaml
	@$(PYTHON) -m infra.spec platform.yaml

lint: setup-fast
	@ruff check . && ruff format --check . && mypy && yamllint . && ansible-lint -q

test-fast: setup-fast ## unit tests and recorded AWS graphs; no root, no machines
	@$(PYTHON) -m pytest tests/unit tests/aws

test: setup ## everything that proves the promises, the cheap way
	@$(PYTHON) -m tests.suite

lock: ## write requirements.txt anew from requirements.in
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --upgrade requirements.in -o requirements.txt

clean-cache: ## remove compiled programs and golden images
	@$(PYTHON) -m infra.lifecycle clean-cache
