# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
# More arguments for pip, for example the index of a CPU-only torch build.
PIP_ARGS ?=
BIN := .venv/bin
export OMP_WAIT_POLICY ?= passive

.PHONY: setup demo test lint bench results clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt tests/tools/package.json
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable ".[dev]"
	@if command -v npm >/dev/null; then npm install --silent --no-fund --no-audit --prefix tests/tools; \
	else echo "npm is not here: the test with the Khronos glTF validator will say that it skips"; fi
	@touch .venv/ready

demo: setup
	$(BIN)/animal4d demo --out runs/demo --overwrite

test: setup lint
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/pyright

bench: setup
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/step.py

results: setup
	$(BIN)/python benchmarks/results.py

clean:
	rm -rf .venv runs tests/tools/node_modules
