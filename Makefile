# Two commands set everything up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One tested set of versions, build dependencies included.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export TOKENIZERS_PARALLELISM := false
SOURCES := $(shell find native -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name 'CMakeLists.txt') CMakeLists.txt
WORKERS ?= 2

.PHONY: demo test lint format bench docs lines weights trained native wheel nightly fuzz clean

demo: weights
	$(BIN)/python examples/demo.py

test: trained
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations 25

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The starter models, by pinned hash, in the standard cache; at once when they are there.
weights: $(VENV)/.installed
	$(BIN)/python -m tools.starter_weights

# Small models for the tests, trained from pinned texts into the same cache; at once when they are there.
trained: weights
	$(BIN)/python -m tools.trained_models

# Each benchmark runs its peer in the same process and prints ratios.
bench: weights
	$(BIN)/python -m benchmarks

# The pages are Markdown; this checks that every link and every Python example in them holds.
docs: weights
	$(BIN)/python -m pytest -q tests/docs

lines: $(VENV)/.installed
	$(BIN)/python -m tools.lines

# Rebuild what changed in native/ and install it into .venv; Python files are read where they lie.
native: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .

# The engine under address and undefined-behaviour sanitizers: each target of native/fuzz for FUZZ_SECONDS. With clang
# (CXX=clang++) the inputs are libFuzzer's. What is found lies in build/fuzz.
FUZZ_SECONDS ?= 60
fuzz:
	cmake -S native/fuzz -B build/fuzz
	cmake --build build/fuzz --parallel $(WORKERS)
	cd build/fuzz && for name in document charsmap sentencepiece encode decode; do \
		mkdir -p found/$$name && \
		./fuzz_$$name -max_total_time=$(FUZZ_SECONDS) found/$$name $(CURDIR)/native/fuzz/seeds/$$name || exit 1; done

wheel: $(VENV)/.installed
	$(BIN)/python -m build --wheel --outdir dist

# Millions of random strings through the tokenizer engine and the reference; a day's seed is its date.
nightly: $(VENV)/.installed
	$(BIN)/python -m tools.fuzz_tokenizers --strings 5000000 --seed $$(date +%Y%m%d)

clean:
	rm -rf build dist $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt $(SOURCES)
	sh tools/system_packages.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.0" numpy
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
