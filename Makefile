# Two commands for people: `make demo` and `make test`. Each sets up what it needs and caches it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CACHE := $(if $(PCG_CACHE),$(PCG_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/private-cloud-gateway)
DEMO_ARGS ?=
TEST_ARGS ?=

.PHONY: help demo test test-heavy fuzz scan lint docs setup tpm packages clean rivals
.PHONY: bench-first-cluster bench-journal bench-tunnel bench-tunnel-slow-link

help:
	@echo "make demo                     a data centre, a console, an appliance and a cluster on this machine"
	@echo "make demo DEMO_ARGS=--once    the same, then everything is removed again; for scripts"
	@echo "make test                     every test, linters and types included"
	@echo "make test-heavy               the tests that move gigabytes"
	@echo "make fuzz FUZZ_SECONDS=600    random bytes against every parser of the tunnel"
	@echo "make scan                     sslyze, a scanner of TLS, against both ports of a console"
	@echo "make simulate SEEDS=100000    power cuts, bad networks and failing disks, one run a seed, on every core"
	@echo "make lint                     linters, types and the house's rules only"
	@echo "make docs                     write the pages of docs/ that are generated"
	@echo "make bench-first-cluster      how long pairing takes, and one machine beside three"
	@echo "make bench-journal            what a flush costs, how fast commands are accepted and steps written"
	@echo "make bench-tunnel             the tunnel beside ssh -R, stunnel, chisel and wstunnel; about 20 minutes, as root"
	@echo "make bench-tunnel-slow-link   1 Mbit/s saturated for ten minutes, then a peer that falls silent; as root"
	@echo "make clean                    remove the virtual environment (caches stay in $(CACHE))"

demo: setup
	$(BIN)/pcg demo $(DEMO_ARGS)

test: setup tpm
	$(BIN)/pytest $(TEST_ARGS)

test-heavy: setup
	$(BIN)/pytest -m heavy $(TEST_ARGS)

FUZZ_SECONDS ?= 600
fuzz: setup
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

# It wants an older cryptography than the gateway does, and so has an environment of its own.
SSLYZE := 6.3.1
SCANNER := $(CACHE)/sslyze-$(SSLYZE)
scan: setup
	@test -x "$(SCANNER)/bin/sslyze" || { $(PYTHON) -m venv "$(SCANNER)" && \
	    "$(SCANNER)/bin/pip" install --quiet --disable-pip-version-check sslyze==$(SSLYZE); }
	PATH="$$PATH:$(SCANNER)/bin" $(BIN)/pytest tests/integration/tls -q

SEEDS ?= 100000
simulate: setup
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

lint: setup
	$(BIN)/pytest tests/house -q

docs: setup
	$(BIN)/python -m tests.house.pages

bench-journal: setup
	$(BIN)/python -m benchmarks.journal

bench-first-cluster: setup
	$(BIN)/python -m benchmarks.first_cluster

BENCH_ARGS ?=
BENCH := $(CACHE)/bench
WSTUNNEL := 1.4.0

bench-tunnel: setup rivals
	$(BIN)/python -m benchmarks.tunnel --cache "$(BENCH)" $(BENCH_ARGS)

bench-tunnel-slow-link: setup
	$(BIN)/python -m benchmarks.tunnel --cache "$(BENCH)" --slow-link 600

# What a user would choose instead of the tunnel. One that cannot be had is left out, and the table says so.
rivals:
	@mkdir -p "$(BENCH)"
	@test -x "$(BENCH)/go/bin/chisel" || \
	    go build -C benchmarks/tunnel/rivals -mod=readonly -o "$(BENCH)/go/bin/chisel" github.com/jpillora/chisel || true
	@test -e "$(BENCH)/npm/node_modules/.bin/wstunnel" || \
	    npm install --silent --no-audit --no-fund --prefix "$(BENCH)/npm" wstunnel@$(WSTUNNEL) || true

# Debian packages that the lab's programs come from, and what tests need besides; installed only when missing.
test test-heavy scan lint: ALSO = openssl openssh-server tinyproxy-bin iptables libfaketime
test tpm: ALSO += libtss2-dev swtpm gcc libc6-dev python3-dev pkg-config
bench-tunnel bench-tunnel-slow-link: ALSO = stunnel4 openssh-server gcc libc6-dev libssl-dev iproute2
setup: $(STAMP)
	@missing=$$(for one in $$($(BIN)/python -m gateway.lab.prerequisites) $(ALSO); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$one 2>/dev/null | grep -qx installed || echo $$one; done); \
	if [ -n "$$missing" ]; then $(MAKE) --no-print-directory packages PACKAGES="$$(echo $$missing)"; fi

packages:
	@if [ "$$(id -u)" != 0 ]; then \
	    echo "missing Debian packages; as root: apt-get install --yes $(PACKAGES)"; exit 1; fi
	apt-get update --quiet --quiet
	@# Tests start their own sshd on a port of loopback; a service on this machine is nobody's wish.
	@guard=/usr/sbin/policy-rc.d; \
	if [ ! -e $$guard ]; then \
	    trap "rm -f $$guard" EXIT; trap 'exit 130' INT TERM HUP; \
	    printf '#!/bin/sh\nexit 101\n' >$$guard; chmod 755 $$guard; fi; \
	DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends $(PACKAGES)

# Without it the tests of device keys in a TPM are skipped, and say so.
tpm: setup
	@$(BIN)/python -c 'import tpm2_pytss' 2>/dev/null || \
	    $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tpm]' || \
	    echo "the library for the TPM cannot be built here: its tests are skipped"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is missing: apt-get install --yes python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    $(MAKE) --no-print-directory packages PACKAGES=python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fast]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
