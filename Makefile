# The two commands are `make demo` and `make test`; `make help` lists the rest. Everything is installed into the active
# virtual environment, or into .venv here; nothing needs root.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),$(CURDIR)/.venv)
BIN := $(VENV)/bin
BUILD := build
OUT ?= out
DATA ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# auto: the CUDA engine is built where nvcc of CUDA 13 is found; on, off. The demonstration trains on the CPU: without a
# GPU it does not wait for minutes for an engine that could not run.
ifeq ($(origin FFC_CUDA), undefined)
FFC_CUDA := auto
demo: FFC_CUDA := $(if $(wildcard /dev/nvidiactl /dev/dxg),auto,off)
endif
# What for, as CMAKE_CUDA_ARCHITECTURES says it; empty: the default of cmake/Cuda.cmake
CUDA_ARCHITECTURES ?=

export PATH := $(BIN):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export CMAKE_ARGS += $(CUDA_OPTIONS)

SOURCES := $(shell find include src cmake python CMakeLists.txt pyproject.toml -type f -not -name '*.so' -not -path '*/__pycache__/*')
CUDA_OPTIONS = -DFFC_CUDA=$(FFC_CUDA) $(if $(CUDA_ARCHITECTURES),"-DFFC_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)")
CMAKE_CONFIGURE = cmake -S . -G Ninja $(CUDA_OPTIONS)

.PHONY: help setup demo test test-cpp test-python test-mutants test-packaging test-neon test-gpu cuda sanitize sanitize-gpu lint format docs bench wheel clean

help:
	@echo "make demo        set up, train the demonstration model, write the report to $(OUT)/demo"
	@echo "make test        set up, run every C++ and Python test"
	@echo "make test-gpu    the CUDA engine's tests; needs a GPU and a torch with CUDA"
	@echo "make cuda        compile the CUDA engine, and test what needs no GPU; sanitize-gpu runs compute-sanitizer"
	@echo "make lint        formatting, lint, include direction, public headers alone"
	@echo "make sanitize    the C++ tests under AddressSanitizer + UBSan and under ThreadSanitizer"
	@echo "make test-neon   the C++ tests cross-compiled for AArch64, under qemu-user"
	@echo "make bench       the CPU table of the README, this machine"
	@echo "make docs        the documentation as a site, docs/_build/html"
	@echo "make wheel       a wheel, installed and tried in a clean environment"

# ---- set-up: each step once, again when what it is made from changes

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made: install python3-venv"; exit 1; }

$(VENV)/.ffc-tools: $(BIN)/python
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q "cmake>=3.28" ninja "scikit-build-core>=0.11"
	@touch $@

$(VENV)/.ffc-package: $(VENV)/.ffc-tools $(SOURCES)
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps --force-reinstall .
	@touch $@

# Extras of pyproject.toml; torch is there already and fits. Linters need no package.
$(VENV)/.ffc-train $(VENV)/.ffc-test $(VENV)/.ffc-docs: $(VENV)/.ffc-package
$(VENV)/.ffc-lint: $(BIN)/python
$(VENV)/.ffc-%: pyproject.toml
	$(BIN)/python -m pip install -q $$($(BIN)/python tools/requirements.py $*)
	@touch $@

setup: $(VENV)/.ffc-package

# ---- demo

# On a shared machine a thread that spins while it waits for another takes the core that the other needs.
demo test-python: export OMP_WAIT_POLICY ?= passive

demo: $(VENV)/.ffc-train
	data="$(DATA)"; [ -n "$$data" ] || data=$$(tools/fetch_fashion_mnist.sh $(CURDIR)/$(BUILD)/fashion-mnist) || exit 1; \
	$(BIN)/flashfftconv demo --data "$$data" --out $(OUT)/demo

# ---- tests

$(BUILD)/tests/.configured: $(VENV)/.ffc-tools
	$(CMAKE_CONFIGURE) -B $(BUILD)/tests
	@touch $@

$(BUILD)/tests/build: $(BUILD)/tests/.configured FORCE
	cmake --build $(BUILD)/tests

FORCE:

test-cpp: $(BUILD)/tests/build
	ctest --test-dir $(BUILD)/tests -j $(JOBS) --output-on-failure -LE "mutants|packaging"

test-packaging: $(BUILD)/tests/build
	ctest --test-dir $(BUILD)/tests --output-on-failure -L packaging

test-mutants: $(BUILD)/tests/build
	ctest --test-dir $(BUILD)/tests --output-on-failure -L mutants

test-python: $(VENV)/.ffc-test
	$(BIN)/python -m pytest -q -n $(JOBS)

test: test-cpp test-packaging test-mutants test-python

test-gpu: $(VENV)/.ffc-test
	$(BIN)/python -m pytest -q tests/python/gpu

# A kernel that spills registers fails this build: of sm_90, for which they are tuned; for older GPUs it makes PTX.
cuda: CUDA_ARCHITECTURES := $(or $(CUDA_ARCHITECTURES),80-virtual;90-real)
cuda: $(VENV)/.ffc-tools
	$(CMAKE_CONFIGURE) -B $(BUILD)/cuda -DFFC_CUDA=on -DFFC_CUDA_NO_SPILLS=ON -DFFC_BUILD_EXAMPLES=OFF
	cmake --build $(BUILD)/cuda --target flashfftconv ffc_cuda_plan_tests ffc_cuda_cases
	ctest --test-dir $(BUILD)/cuda --output-on-failure -R cuda -E "emulated|mutants"

# initcheck is slow: small transforms are enough. Graphs cannot be captured under the tools.
sanitize-gpu: cuda $(VENV)/.ffc-test
	failed=0; for tool in memcheck racecheck initcheck synccheck; do \
	  largest=$$([ $$tool != initcheck ] || echo 1024); \
	  compute-sanitizer --tool $$tool --error-exitcode 1 $(BUILD)/cuda/tests/cuda/ffc_cuda_cases $$largest || failed=1; \
	  compute-sanitizer --tool $$tool --error-exitcode 1 \
	    $(BIN)/python -m pytest -q tests/python/gpu/test_gpu_short.py -k "not graph" || failed=1; \
	done; exit $$failed

sanitize: $(VENV)/.ffc-tools
	for kind in address,undefined thread; do \
	  $(CMAKE_CONFIGURE) -B $(BUILD)/sanitize-$$kind -DFFC_SANITIZE=$$kind -DFFC_BUILD_EXAMPLES=OFF && \
	  cmake --build $(BUILD)/sanitize-$$kind && \
	  ctest --test-dir $(BUILD)/sanitize-$$kind -j $(JOBS) --output-on-failure -LE "mutants|packaging" || exit 1; \
	done

test-neon: $(VENV)/.ffc-tools
	$(CMAKE_CONFIGURE) -B $(BUILD)/neon --toolchain cmake/aarch64-linux-gnu.cmake -DFFC_BUILD_EXAMPLES=OFF
	cmake --build $(BUILD)/neon
	ctest --test-dir $(BUILD)/neon -j $(JOBS) --output-on-failure -L neon

# ---- the rest

lint: $(VENV)/.ffc-lint
	$(BIN)/ruff check python tests tools
	$(BIN)/ruff format --check python tests tools
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/python tools/check_includes.py
	$(BIN)/python tools/check_headers.py

format: $(VENV)/.ffc-lint
	$(BIN)/ruff check --fix python tests tools
	$(BIN)/ruff format python tests tools
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format -i

docs: $(VENV)/.ffc-docs
	@command -v doxygen >/dev/null || { echo "doxygen is missing: install it (Debian: apt-get install doxygen)"; exit 1; }
	mkdir -p docs/_build && doxygen -q docs/Doxyfile
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

bench: $(VENV)/.ffc-train
	$(BIN)/flashfftconv bench --out bench/results/cpu.jsonl

wheel: $(VENV)/.ffc-tools
	rm -rf dist && $(BIN)/python -m pip wheel -q --no-build-isolation --no-deps -w dist .
	tools/try_wheel.sh dist "$(TORCH)"

clean:
	rm -rf $(BUILD) dist docs/_build
