# Short names for the commands of this repository; `make help` lists them. CMake builds (CMakePresets.json),
# the scripts do the rest; each works without make too.
ifndef PRESET  # asked once, and only where something is built
PRESET := $(if $(filter setup train test build bench install docs,$(MAKECMDGOALS)),$(shell scripts/preset.sh),cpu)
endif
CONFIG ?= configs/quickstart.yaml
SECONDS ?= 60
PREFIX ?= /usr/local
ARGS ?=
JOBS ?= $(shell scripts/jobs.sh)
BUILD := build/$(PRESET)

.DEFAULT_GOAL := help
.PHONY: help setup train test build asan tsan fuzz bench format lint install bundle wheel deb docs clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Install what the build needs (Debian, Ubuntu); does nothing when all is there
	@PRESET=$(PRESET) scripts/setup.sh

$(BUILD)/build.ninja: setup
	cmake --preset $(PRESET)

train: $(BUILD)/build.ninja  ## Build and train the quickstart (CONFIG=..., ARGS="training.max_steps=50")
	cmake --build $(BUILD) --target moe --parallel $(JOBS)
	$(BUILD)/moe train --config $(CONFIG) $(ARGS)

build: $(BUILD)/build.ninja  ## Build everything: program, tests, benchmarks (PRESET=cpu|gpu|debug|asan|tsan)
	cmake --build $(BUILD) --parallel $(JOBS)

test: build  ## Build everything and run all tests (PRESET=...)
	@scripts/run_tests.sh $(PRESET)

asan:  ## Tests under the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory test PRESET=asan

tsan:  ## Tests under the thread sanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

fuzz: setup  ## Fuzz each input format (SECONDS=600 each; needs clang)
	cmake --preset fuzz
	cmake --build build/fuzz --target fuzz_all --parallel $(JOBS)
	@scripts/fuzz.sh $(SECONDS)

bench: build  ## Run the micro-benchmarks
	@for program in $(BUILD)/bench/*_bench; do echo "$$program"; "$$program" || exit 1; done

format:  ## Reformat all C++ files (clang-format 14)
	@scripts/format.sh

lint: setup  ## Layers, formatting and clang-tidy
	@python3 tools/check_layers.py
	@scripts/format.sh --check
	@scripts/lint.sh

install: $(BUILD)/build.ninja  ## Install the program (PREFIX=/usr/local)
	cmake --build $(BUILD) --target moe --parallel $(JOBS)
	cmake --install $(BUILD) --prefix $(PREFIX)

bundle: setup  ## A folder that runs on another Linux: dist/moe
	@scripts/package.sh bundle

wheel: setup  ## A wheel for pip, pipx and uv: dist/moe_cpp-*.whl
	@scripts/package.sh wheel

deb: setup  ## A package for apt: dist/moe_*.deb
	@scripts/package.sh deb

docs: $(BUILD)/build.ninja  ## The documentation as a site: build/docs
	cmake --build $(BUILD) --target moe --parallel $(JOBS)
	@scripts/docs.sh $(BUILD)/moe

clean:  ## Remove build/ (runs and .deps stay)
	rm -rf build
