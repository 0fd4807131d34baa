PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# Rebuild the extensions in place (src/enfold/**/_*.so) for development.
.PHONY: native
native:
	cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_BUILD_TYPE=Release > build/dev-configure.log 2>&1 || (mkdir -p build && cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_BUILD_TYPE=Release)
	cmake --build build/dev
	cmake --install build/dev --prefix src
