PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := all,plots,examples,contestants,docs,test
# Left empty, `make demo` writes a Caffe pair with seeded weights; or name a real checkpoint.
CAFFEMODEL ?=
# An entry of the path, found before a folder of the same name beside a user's script; the default is found after it.
EDITABLE := --config-settings editable_mode=compat --editable

# How long `make fuzz` looks for files that hurt a reader.
SECONDS ?= 300

# A file of tests stays in one process; a thread for each, so that two do not wait for each other's cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo test slow fuzz lint fix bench torture docs site tables lock lowest clean

# Installed once; again only when what to install changes.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(EDITABLE) ".[$(EXTRAS)]"
	touch $@

demo: $(VENV)/installed
	$(BIN)/python -m conformance demo --output demo $(if $(CAFFEMODEL),--caffemodel "$(CAFFEMODEL)")

test: lint
	$(PYTEST) -m "not slow"

slow: $(VENV)/installed
	$(PYTEST) -m slow

# Guided by coverage, where Atheris installs.
fuzz: $(VENV)/installed
	-test -d $(VENV)-fuzz || $(BIN)/python -m pip install --quiet --target $(VENV)-fuzz atheris==3.0.0
	PYTHONPATH=$(VENV)-fuzz $(BIN)/python tests/fuzz.py --seconds $(SECONDS)

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# Format, and the corrections that cannot change what the code does.
fix: $(VENV)/installed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# How fast the networks are, in each framework beside what else there is: docs/speed-tables.md; twenty minutes.
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.speed

# Kills, full disks, crowds of writers, sources that change; minutes.
torture: $(VENV)/installed
	$(BIN)/python -m tests.torture

# The pages that are made from data.
docs: $(VENV)/installed
	$(BIN)/python -m tests.divergences > docs/divergences.md
	$(BIN)/python -m benchmarks.precision --render
	$(BIN)/python -m benchmarks.speed --render

# The documentation as a site in build/site. A link or an anchor that leads nowhere is an error.
site: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pages that are measured; half an hour.
tables: $(VENV)/installed
	$(BIN)/python -m tests.mutants > docs/mutations.md
	$(BIN)/python -m benchmarks.contestants > docs/contestants.md
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.onnx_precision

# Resolves the newest versions that pyproject.toml allows, for every Python that it allows and every system. PyTorch
# states its own CUDA packages exactly, and its builds without CUDA have none.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	echo torch==2.13.0 > $(VENV)-lock/torch.txt
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  --constraint $(VENV)-lock/torch.txt --output-file $(VENV)-lock/all.txt pyproject.toml
	(echo "# Exact versions that the tests run with; regenerate with 'make lock'."; \
	 grep -v -E '^(nvidia|cuda)-|^triton=' $(VENV)-lock/all.txt) > constraints.txt
	rm -rf $(VENV)-lock

# Installs the lowest versions that pyproject.toml allows, first without and then with frameworks, and tries each.
lowest:
	rm -rf $(VENV)-lowest && $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	for extras in "" "--extra jax --extra tf --extra onnx"; do \
	  $(VENV)-lowest/bin/uv pip compile --quiet --resolution lowest-direct $$extras pyproject.toml \
	    --output-file $(VENV)-lowest/lowest.txt && \
	  $(VENV)-lowest/bin/python -m pip install --quiet --requirement $(VENV)-lowest/lowest.txt \
	    $${extras:+torch==2.13.0} && \
	  $(VENV)-lowest/bin/python tests/lowest.py || exit 1; \
	done
	rm -rf $(VENV)-lowest

clean:
	rm -rf $(VENV) $(VENV)-fuzz demo build *.egg-info
