# Builds what a checkout needs to run, and runs it: system packages, a virtual
# environment with the native crossings, then the demo, the tests or the benchmarks.

PYTHON ?= python3
PYTEST_ARGS ?= -n auto --dist worksteal
MINUTES ?= 10
JOBS ?= 1

VENV := .venv
RUN := $(VENV)/bin
# Everything that an editable install does not pick up by itself.
BUILT_FROM := pyproject.toml setup.py $(filter-out \
	%/_filter.c %/_flow.c %/_link.c %/_linux.c %/_nflog.c %/_pcap.c %/_replay.c, \
	$(wildcard filter_ffi/*.c filter_ffi/*.h filter_ffi/_build.py \
	flow_ffi/*.c flow_ffi/*.h flow_ffi/_build.py \
	link_ffi/*.c link_ffi/*.h link_ffi/_build.py \
	linux_ffi/*.c linux_ffi/*.h linux_ffi/_build.py \
	nflog_ffi/*.c nflog_ffi/*.h nflog_ffi/_build.py \
	pcap_ffi/*.c pcap_ffi/*.h pcap_ffi/_build.py \
	replay_ffi/*.c replay_ffi/*.h replay_ffi/_build.py))

.DELETE_ON_ERROR:
.PHONY: help demo test lint types suite booted fuzz bench fidelity bench-check shedding soak venv clean system-packages

help: ## Show these lines
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(VENV)/.installed ## Show the whole way, from NFLOG rule to IDS, in private networks
	$(RUN)/python examples/demo.py $(DEMO_ARGS)

test: lint types suite ## Everything that must pass: lint, types and the test suite

lint: $(VENV)/.installed ## Style, by ruff
	$(RUN)/ruff check
	$(RUN)/ruff format --check

types: $(VENV)/.installed ## Types, by mypy
	$(RUN)/mypy

suite: $(VENV)/.installed ## The tests; PYTEST_ARGS="-n auto --dist worksteal" says how
	$(RUN)/pytest $(PYTEST_ARGS)

booted: $(VENV)/.installed ## The units under a systemd of their own; as root
	BOOT_SYSTEMD=1 $(RUN)/pytest tests/systemd/test_booted.py

fuzz: $(VENV)/.installed ## Fuzz every parser, MINUTES=10 each; FUZZ= says which
	@PYTHON='$(PYTHON)' sh scripts/system-packages --with clang
	@$(RUN)/python -c 'import atheris' 2>/dev/null || \
	    $(RUN)/pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(RUN)/python -m tests.fuzz --minutes $(MINUTES) --jobs $(JOBS) $(FUZZ)

shedding: $(VENV)/.installed ## What an IDS finds in too much traffic; CAPTURES= says where captures are
	@PYTHON='$(PYTHON)' sh scripts/system-packages --with suricata
	$(RUN)/python -m bench.shedding $(if $(CAPTURES),--captures '$(CAPTURES)') $(SHEDDING_ARGS)

soak: $(VENV)/.installed ## Faults in random order at load; SOAK_MINUTES=30, SOAK_SEED=, SOAK_RATE=
	$(RUN)/python -m tests.faults.soak

bench: $(VENV)/.installed ## The benchmarks; BENCH_ARGS= says which
	@PYTHON='$(PYTHON)' sh scripts/system-packages --with bench
	@$(RUN)/python -c 'import matplotlib' 2>/dev/null || \
	    $(RUN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(RUN)/python -m bench $(BENCH_ARGS)

fidelity: $(VENV)/.installed ## Suricata behind the pipe against Suricata on the captures; PCAPS=folder
	@PYTHON='$(PYTHON)' sh scripts/system-packages --with suricata
	$(RUN)/python -m fidelity $(PCAPS)

bench-check: $(VENV)/.installed ## Instructions per packet against those kept; ACCEPT=1 keeps new ones
	$(RUN)/python -m bench.instructions $(if $(ACCEPT),--accept)

venv: $(VENV)/.installed ## Only build what the others need

clean: ## Remove all that was built, the virtual environment too
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f filter_ffi/*.so filter_ffi/*.o filter_ffi/_filter.c
	rm -f flow_ffi/*.so flow_ffi/*.o flow_ffi/_flow.c
	rm -f link_ffi/*.so link_ffi/*.o link_ffi/_link.c
	rm -f linux_ffi/*.so linux_ffi/*.o linux_ffi/_linux.c
	rm -f nflog_ffi/*.so nflog_ffi/*.o nflog_ffi/_nflog.c
	rm -f pcap_ffi/*.so pcap_ffi/*.o pcap_ffi/_pcap.c
	rm -f replay_ffi/*.so replay_ffi/*.o replay_ffi/_replay.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked for every time, since only the machine knows; quick when nothing is missing.
system-packages:
	@PYTHON='$(PYTHON)' sh scripts/system-packages

# Order-only: that the packages were looked for is no reason to build again.
$(VENV)/.installed: $(BUILT_FROM) | system-packages
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit( \
	    "Python 3.11 or newer is needed, and $(PYTHON) is %d.%d; try: " \
	    "make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	@# Else setuptools sees no reason to build again when only a header is new.
	@rm -f filter_ffi/*.so flow_ffi/*.so link_ffi/*.so linux_ffi/*.so nflog_ffi/*.so pcap_ffi/*.so
	$(RUN)/pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	@touch $@
