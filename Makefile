# SPDX-License-Identifier: Apache-2.0

PYTHON ?= python3
PYTEST_ARGS ?=
export PYTHON

VENV := .venv
IN_VENV := $(VENV)/bin/python
# Tests wait as much as they work.
WORKERS ?= $(shell expr 3 \* `nproc`)

# OpenNebula from packages, or self-contained below ONE_LOCATION
REMOTES := $(DESTDIR)$(if $(ONE_LOCATION),$(ONE_LOCATION)/var,/var/lib/one)/remotes
# only root can give files away
OWNER := $(shell [ "$$(id -u)" = 0 ] && id -u oneadmin >/dev/null 2>&1 && echo -o oneadmin -g "$$(id -gn oneadmin)")

.NOTPARALLEL:
.PHONY: help demo lab test check lint type bench format install clean

help:
	@echo "make demo      see the driver work, in a cloud on this machine (no root, no OpenNebula, no LINSTOR)"
	@echo "make lab       start that cloud and keep it until Ctrl-C"
	@echo "make test      lint, types and all tests; PYTEST_ARGS='-k name' selects"
	@echo "make check     lint and types only (make lint, make type)"
	@echo "make format    format the code"
	@echo "make bench     measure the actions"
	@echo "make install   library for $(PYTHON), executables into $(REMOTES)"
	@echo "make clean     remove everything that was built, $(VENV) too"

# One stamp for each extra of setup.py.
$(VENV)/.%-installed: setup.py .ci/venv
	@echo "Preparing $(VENV) ($*)"
	@.ci/venv $(VENV) $*
	@touch $@

demo: $(VENV)/.lab-installed
	@$(IN_VENV) -m lab.demo

lab: $(VENV)/.lab-installed
	@$(IN_VENV) -m lab

bench: $(VENV)/.lab-installed
	@$(IN_VENV) -m lab.bench

test: lint type
	$(IN_VENV) -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

check: lint type

lint: $(VENV)/.dev-installed
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" ./format.sh --check

type: $(VENV)/.dev-installed
	$(IN_VENV) -m mypy

format: $(VENV)/.dev-installed
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" ./format.sh

install:
	@[ -n "$(DESTDIR)" ] || [ -d "$(REMOTES)" ] || \
		{ echo "$(REMOTES) is missing: set ONE_LOCATION, or DESTDIR to build a package" >&2; exit 1; }
	@$(PYTHON) -c 'import setuptools' 2>/dev/null || \
		{ echo "$(PYTHON) has no setuptools: install python3-setuptools" >&2; exit 1; }
	@$(PYTHON) -c 'import linstor, lxml.etree' 2>/dev/null || [ -n "$(DESTDIR)" ] || \
		{ echo "$(PYTHON) has no python-linstor or no lxml: install both" >&2; exit 1; }
	@build=$$(mktemp -d) && trap 'rm -rf "$$build"' EXIT && \
		$(PYTHON) setup.py --quiet build --build-base="$$build" install --root="$(or $(DESTDIR),/)"
	@for kind in datastore tm; do \
		install -d -m 0755 $(OWNER) "$(REMOTES)/$$kind/linstor" && \
		install -m 0755 $(OWNER) $$kind/* "$(REMOTES)/$$kind/linstor/" || exit 1; \
	done
	@for kind in datastore tm; do \
		for file in "$(REMOTES)/$$kind/linstor"/*; do \
			[ -e "$$kind/$${file##*/}" ] || \
				echo "Not of this driver; remove it if an earlier driver left it: $$file" >&2; \
		done; \
	done
	@echo "Installed: linstor_helper for $(PYTHON), executables in $(REMOTES)/{datastore,tm}/linstor"

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .tox
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
