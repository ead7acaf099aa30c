# make app | test | test-all | lint | bench | clean. Needs only Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8501
BIN := .venv/bin
# Two processes, by file: in the full set one drives the browser, which mostly waits, while the other runs the rest.
TWO := --numprocesses 2 --dist loadscope --no-loadscope-reorder

.PHONY: app test test-all test-quick lint bench clean

app: .venv/.runtime
	$(BIN)/python -m multirate_core.serve --host $(HOST) --port $(PORT)

test: .venv/.dev
	$(BIN)/python -m pytest $(TWO) -m "not matrix and not gpu and not network" -rs

test-all: .venv/.dev
	$(BIN)/python -m pytest $(TWO) -rs

test-quick: .venv/.dev
	$(BIN)/python -m pytest $(TWO) --ignore tests/browser -m "not slow and not gpu and not network and not browser" -rs

lint: .venv/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: .venv/.dev
	$(BIN)/python -m benchmarks

# The two stamps: installed again only when the requirements changed.
.venv/.runtime: requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

.venv/.dev: .venv/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
