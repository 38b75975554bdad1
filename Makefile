# Everything a fresh clone on a bare Debian machine needs: `make demo` or `make test`.
PYTHON ?= python3
IMAGE ?= examples/phantom.png
VENV := .venv
DEMO_VENV := .venv-demo

.PHONY: demo test test-slow lint test-runtime complexity clean

demo: $(DEMO_VENV)/.done  ## Install the runtime only and grade an image: make demo IMAGE=scan.png
	$(DEMO_VENV)/bin/cxrs-edge predict "$(IMAGE)"

test: lint $(VENV)/.done test-runtime  ## Lint, type-check, test; then the runtime alone on each Python
	$(VENV)/bin/python -m pytest -m "not slow"

test-slow: $(VENV)/.done  ## The tests that take minutes
	$(VENV)/bin/python -m pytest -m slow

lint: $(VENV)/.done
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test-runtime: $(VENV)/.done  ## The wheel without TensorFlow, on every supported Python of this machine
	$(VENV)/bin/python tests/packaging/run_on_each_python.py

complexity: $(VENV)/.done  ## The table of docs/complexity.md
	$(VENV)/bin/cxrs-edge complexity

# The stamp is older than pyproject.toml whenever a dependency may have changed.
$(VENV)/.done: pyproject.toml
	sh tests/packaging/make_venv.sh "$(PYTHON)" $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

$(DEMO_VENV)/.done: pyproject.toml $(shell find cxrs_edge -type f -not -name '*.pyc')
	sh tests/packaging/make_venv.sh "$(PYTHON)" $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --upgrade '.[tflite]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_VENV) .venv-py* build dist
