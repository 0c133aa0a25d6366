PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := all,contestants,test
# Left empty, `make demo` writes a Caffe pair with seeded weights; or name a real checkpoint.
CAFFEMODEL ?=

.PHONY: demo test slow lint bench docs tables lock clean

# Installed once; again only when what to install changes.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m conformance demo --output demo $(if $(CAFFEMODEL),--caffemodel "$(CAFFEMODEL)")

test: lint
	$(BIN)/python -m pytest -m "not slow"

slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# What a conversion costs, as a multiple of reading and writing the same bytes.
bench: $(VENV)/installed
	$(BIN)/python benchmarks/convert.py

# The pages that are made from data.
docs: $(VENV)/installed
	$(BIN)/python -m conformance.divergences
	$(BIN)/python -m conformance.precision --render

# The pages that are measured; half an hour.
tables: $(VENV)/installed
	$(BIN)/python -m conformance.mutations > docs/mutations.md
	$(BIN)/python -m conformance.contestants > docs/contestants.md
	$(BIN)/python -m conformance.precision

# Resolves the newest versions that pyproject.toml allows, in an environment of its own.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet torch==2.13.0 --editable ".[$(EXTRAS)]"
	(echo "# Exact versions that the tests run with; regenerate with 'make lock'."; \
	 $(VENV)-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//') > constraints.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) demo build *.egg-info
