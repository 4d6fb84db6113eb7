# SPDX-License-Identifier: (Apache-2.0 OR MIT)
# `make demo` and `make test` are all that one has to know; both need Python >= 3.9, git and gcc.

PYTHON ?= python3
VENV := .venv
# some images set it; every Python that a test starts would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(VENV)/bin/python -m pytest
# Tests of one file stay in one process, so that they share what is expensive to make. There are more processes than the
# two cores of a small machine, as some tests wait for a registry or a process.
JOBS ?= 3
PARALLEL = -n $(JOBS) --dist loadscope --no-loadscope-reorder
BENCHES = $(filter-out %/bench_scale.py,$(wildcard tests/bench/bench_*.py))

.PHONY: completion tutorial bench-scale help demo demo-registry test test-all test-without-spack test-lowest unit registry store spack browser bench fuzz mutants reliability lint clean

help:
	@echo "make demo           push, list and install real packages with a real Spack (without, if none can be had), in .demo"
	@echo "make demo-registry  the same with a docker-registry on this machine"
	@echo "make test           the tests: library, registry, Spack, each behaviour once, on the release of Spack that it needs"
	@echo "                    (ARGS=--spacks=both: what depends on Spack's version on its development branch too, as CI does)"
	@echo "make test-all       all on all versions of Spack, and what takes long as well; with SPACK_STACK=DIR, a Spack that"
	@echo "                    has real packages installed, its programs are run in trees with longer paths, and its files"
	@echo "                    compared with vanilla Spack's"
	@echo "make test-lowest    those of the library, with the oldest supported dependencies (PYTHON=python3.9)"
	@echo "make test-without-spack   the demo and the tests of stores, with no way to get a Spack"
	@echo "make unit | registry | store | spack | browser   one layer of the tests; ARGS is passed to pytest, JOBS is how many processes"
	@echo "make bench          measure against Spack's own code"
	@echo "make bench-scale    measure what a cache costs against the number of packages, and write it into docs/scale.md"
	@echo "make fuzz           damaged inputs for every parser, MINUTES=60 of the processor each; ARGS=elf for one of them"
	@echo "make mutants        remove each guard in turn: some test has to notice"
	@echo "make reliability  write the table of faults into docs/reliability.md"
	@echo "make tutorial       execute docs/tutorial.md, and write what its commands print into it"
	@echo "make completion     write share/completion anew, after a change of options"
	@echo "make lint           ruff and mypy"
	@echo "make clean          remove everything that these made"

$(VENV)/installed: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -e '.[test]'
	touch $@

demo:
	@$(PYTHON) tests/demo/demo.py

demo-registry:
	@$(PYTHON) tests/demo/demo.py --registry

test: $(VENV)/installed
	$(PYTEST) $(PARALLEL) -m "not slow" $(ARGS)

test-all: $(VENV)/installed
	SPACK_OCI_COLD_SPACK=1 $(PYTEST) $(PARALLEL) --spacks all $(ARGS)
	test -z "$(SPACK_STACK)" || $(VENV)/bin/python tests/bench/checks/run_longer_trees.py --spack $(SPACK_STACK)
	test -z "$(SPACK_STACK)" || $(VENV)/bin/python tests/bench/checks/compare_installs.py --spack $(SPACK_STACK)

# as on a machine that cannot get Spack: git's way to it is closed
test-without-spack: $(VENV)/installed
	env -u SPACK_ROOT GIT_ALLOW_PROTOCOL=none SPACK_OCI_DEMO_DIRECTORY=$(CURDIR)/.demo/without-spack \
		$(PYTHON) tests/demo/demo.py
	env -u SPACK_ROOT GIT_ALLOW_PROTOCOL=none $(PYTEST) $(PARALLEL) -m "not slow" tests/store $(ARGS)

test-lowest:
	$(PYTHON) -m venv .test/lowest
	.test/lowest/bin/python -m pip install --quiet -r tests/lowest-versions.txt pytest hypothesis cryptography pynacl pyjwt referencing
	.test/lowest/bin/python -m pytest -m "not slow" tests/unit $(ARGS)

unit registry store spack browser: $(VENV)/installed
	$(PYTEST) $(PARALLEL) -m "not slow" tests/$@ $(ARGS)

# BEFORE=REVISION: with an older library beside it; SIZES=1000,10000,27000,100000
bench-scale: $(VENV)/installed
	$(VENV)/bin/python tests/bench/bench_scale.py --svg docs/scale.svg --document docs/scale.md $(if $(BEFORE),--before $(BEFORE)) \
		$(if $(SIZES),--sizes $(SIZES)) $(ARGS)

bench: $(VENV)/installed
	@status=0; for bench in $(BENCHES); do echo "== $$bench"; $(VENV)/bin/python $$bench || status=1; done; exit $$status

mutants: $(VENV)/installed
	$(VENV)/bin/python tests/faults/mutants.py $(ARGS)

reliability: $(VENV)/installed
	$(VENV)/bin/python tests/faults/report.py

completion: $(VENV)/installed
	WRITE_COMPLETION=1 $(PYTEST) -q tests/spack/interface/test_completion.py -k shipped

tutorial: $(VENV)/installed
	$(VENV)/bin/python tests/trial/run.py --write $(ARGS)

MINUTES ?= 1
fuzz: $(VENV)/installed
	$(VENV)/bin/python tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

lint: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet 'ruff>=0.17,<0.18' 'mypy>=1.11' types-requests types-jsonschema
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf .demo .test $(VENV) build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
