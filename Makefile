# `make` alone prints this list. Everything installed is pinned by hash in the lock files.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -q install --root-user-action=ignore
# The lock files name everything that is needed, so nothing is resolved anew.
INSTALL := $(PIP) --require-hashes --no-deps
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url pyproject.toml

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(VENV)/.runtime ## install what is missing and start the platform on .veza/
	@exec $(VENV)/bin/veza serve

# Two runs at a time, since there are two cores: what computes beside what mostly waits. What is killed and paused has
# the machine to itself.
COMPUTING := tests/unit tests/simulation tests/integration tests/conformance tests/fuzzing
ALONE := tests/chaos tests/multinode
PYTEST := $(VENV)/bin/pytest -m "not debian"

.PHONY: test
test: lint ## every check and test that needs nothing but Python packages
	@echo "Testing; what $(COMPUTING) say comes when they have ended"
	@$(PYTEST) $(COMPUTING) >$(VENV)/computing.log 2>&1 & beside=$$!; trap 'kill $$beside; exit 130' INT TERM; \
	$(PYTEST) $(addprefix --ignore=,$(COMPUTING) $(ALONE)); failed=$$?; \
	wait $$beside || failed=1; cat $(VENV)/computing.log; \
	$(PYTEST) $(ALONE) && exit $$failed

.PHONY: lint
lint: $(VENV)/.development ## style, types and import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: test-all
test-all: test test-debian ## the same, and what needs Debian packages

# What the tests marked `debian` need: a browser for the JavaScript SDK; Prometheus with promtool, for the files of
# monitoring/; ffmpeg and ffprobe; the rest makes machines of namespaces, for cluster.yaml.
DEBIAN_PACKAGES := chromium prometheus ffmpeg bubblewrap iproute2 openssh-client openssh-server rsync

.PHONY: test-debian
test-debian: $(VENV)/.development debian-packages
	$(VENV)/bin/pytest -m debian -rs

# Nothing is started: RUNLEVEL 1 is what keeps a package's service from running. systemd does not look at it, and would
# start sshd; where it runs, installing is left to who owns the machine.
.PHONY: debian-packages
debian-packages:
	@missing=$$(for package in $(DEBIAN_PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q '^install ok installed$$' || echo $$package; \
	done | tr '\n' ' '); \
	test -z "$$missing" && exit; \
	test "$$(id -u)" = 0 || { echo "Debian packages are missing; as root: apt-get install $$missing"; exit 1; }; \
	test ! -d /run/systemd/system || \
		{ echo "Debian packages are missing, and systemd would start their services: apt-get install $$missing"; exit 1; }; \
	echo "Installing $$missing"; \
	apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq --no-install-recommends $$missing >/dev/null

# SEEDS=… worlds from the seed FROM=…
SEEDS ?= 2000
FROM ?= 0

.PHONY: simulate
simulate: $(VENV)/.development ## worlds of crashes and cuts, each from a seed (SEEDS=, FROM=), every promise checked
	@cd tests && ../$(VENV)/bin/python -m simulation --seeds $(SEEDS) --from $(FROM)

# MINUTES=… in all, SEED=… of the first run
MINUTES ?= 10

.PHONY: fuzz
fuzz: $(VENV)/.development ## requests made up from the OpenAPI document, as every role (MINUTES=, SEED=)
	@cd tests && ../$(VENV)/bin/python -m fuzzing --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# What the API answers, for people to read: from the same document as /swagger.
.PHONY: docs
docs: $(VENV)/.runtime ## write docs/api.md anew from the routes
	@$(VENV)/bin/veza openapi --markdown > docs/api.md.new && mv docs/api.md.new docs/api.md

.PHONY: bench
bench: $(VENV)/.development ## measure; figures go to benchmarks/results/
	$(VENV)/bin/python -m benchmarks

.PHONY: format
format: $(VENV)/.development ## lay out the code as the checks want it
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: lock
lock: $(VENV)/bin/python ## resolve the dependencies anew
	@test -x $(VENV)/bin/uv || $(PIP) "uv>=0.13"
	$(COMPILE) --upgrade --extra build -o requirements.lock
	$(COMPILE) --upgrade --extra build --extra dev --extra bench -c requirements.lock -o requirements-dev.lock

.PHONY: clean
clean: ## remove the virtual environment and caches; data in .veza/ stays
	rm -rf $(VENV) build *.egg-info .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed; install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making $(VENV)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing what requirements.lock pins (the first time a minute or two)"
	@$(INSTALL) -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing what requirements-dev.lock pins"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
