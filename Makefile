# `make demo` and `make test` install what they need into .venv, with the versions in
# constraints.txt, and do so again only when that file or setup.cfg changes.
#
#   make demo                  trains the style-transfer example and writes a picture, on TensorFlow
#   make test                  linter, type checker, and the tests on every backend
#   make test-oldest           the core of the suite with the oldest supported Keras and its backends
#   make test-newest           the same with the newest pre-release of Keras
#   make mutants               breaks the package in some seventy places: does a test see each?
#   make fuzz                  thousands of random configurations of each layer, on every backend
#   make gallery               runs every example at its defaults, for docs/gallery.md (hours)
#   make bench                 times the layers against what is used today, on every backend
#   make demo BACKEND=jax      on one backend of your choice: tensorflow, jax or torch
#   make test BACKEND=torch

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export TF_CPP_MIN_LOG_LEVEL ?= 2

BACKENDS := tensorflow jax torch
PACKAGES_tensorflow := tensorflow-cpu
PACKAGES_jax := jax
PACKAGES_torch := torch kornia

ifneq ($(filter-out $(BACKENDS),$(BACKEND)),)
$(error BACKEND must be one of: $(BACKENDS). Received: $(BACKEND))
endif
DEMO_BACKEND := $(or $(BACKEND),tensorflow)
GALLERY_BACKEND := $(or $(BACKEND),jax)
MUTANTS_BACKEND := $(or $(BACKEND),torch)
TEST_BACKENDS := $(or $(BACKEND),$(BACKENDS))

# Keras 3.10 and the backends of its time; TensorFlow 2.19 is the first that can be installed beside
# the JAX of that time (0.6), for `ml_dtypes`. The newest Python is the newest of all three backends.
OLDEST := keras==3.10.0 tensorflow-cpu==2.19.1 jax==0.6.1
OLDEST_PYTHON ?= python3.11
NEWEST := tensorflow-cpu jax
NEWEST_PYTHON ?= python3.13
CORE := tests/layers tests/ops tests/files tests/test_files.py tests/test_constraints.py tests/test_initializers.py tests/test_defects.py

.PHONY: demo test test-oldest test-newest mutants fuzz gallery bench lint clean

demo: $(VENV)/.ready-$(DEMO_BACKEND)
	KERAS_BACKEND=$(DEMO_BACKEND) $(RUN) examples/style_transfer.py --networks transposed resize even4 --steps 200 --out out/demo

gallery: $(VENV)/.ready-$(GALLERY_BACKEND)
	KERAS_BACKEND=$(GALLERY_BACKEND) $(RUN) examples/gallery.py

test: lint $(addprefix test-,$(TEST_BACKENDS))

mutants: $(VENV)/.ready-$(MUTANTS_BACKEND)
	$(RUN) tests/mutants.py --backend $(MUTANTS_BACKEND)

fuzz: $(addprefix fuzz-,$(TEST_BACKENDS))

bench: $(addprefix bench-,$(TEST_BACKENDS))

lint: $(addprefix $(VENV)/.ready-,$(TEST_BACKENDS))
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# One backend after the other, each in two processes.
.NOTPARALLEL:
.PHONY: $(addprefix test-,$(BACKENDS))
$(addprefix test-,$(BACKENDS)): test-%: $(VENV)/.ready-%
	@echo "== pytest on $* =="
	KERAS_BACKEND=$* $(RUN) -m pytest -n 2 --dist loadgroup

test-oldest: .venv-oldest/.ready
test-newest: .venv-newest/.ready
test-oldest test-newest: test-%:
	for backend in $(TEST_BACKENDS); do \
	  echo "== pytest on $$backend, with the $* Keras =="; \
	  KERAS_BACKEND=$$backend .venv-$*/bin/python -m pytest -n 2 --dist loadgroup $(CORE) || exit 1; \
	done

.venv-oldest/.ready: setup.cfg Makefile
	test -x .venv-oldest/bin/python || $(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --disable-pip-version-check -e ".[test]" $(OLDEST) torch==2.13.0
	@touch $@

# Pre-releases of Keras have a name of their own, and lie where Keras does.
.venv-newest/.ready: setup.cfg Makefile
	test -x .venv-newest/bin/python || $(NEWEST_PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --disable-pip-version-check -e ".[test]" $(NEWEST) torch==2.13.0
	.venv-newest/bin/python -m pip uninstall --yes keras keras-nightly
	.venv-newest/bin/python -m pip install --disable-pip-version-check --pre --upgrade --no-deps keras-nightly
	@touch $@

.PHONY: $(addprefix fuzz-,$(BACKENDS))
$(addprefix fuzz-,$(BACKENDS)): fuzz-%: $(VENV)/.ready-%
	PYTHONPATH=tests KERAS_BACKEND=$* $(RUN) -m fuzz

.PHONY: $(addprefix bench-,$(BACKENDS))
$(addprefix bench-,$(BACKENDS)): bench-%: $(VENV)/.ready-%
	@mkdir -p out
	KERAS_BACKEND=$* $(RUN) -m benchmarks --json out/bench-$*.json

$(VENV)/.ready-%: constraints.txt setup.cfg pyproject.toml
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -c constraints.txt -e ".[examples,export,test]" $(PACKAGES_$*)
	@touch $@

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest out build dist
