# Everything a fresh clone on a bare Debian machine needs: `make demo` or `make test`.
PYTHON ?= python3
IMAGE ?= examples/phantom.png
DATA ?= ../shared/data/severity
PRETRAIN_DATA ?= ../shared/data/pretrain
PLATFORM ?= linux_aarch64
PYTHON_VERSION ?= 3.11
ENGINES ?= tflite
RELEASES ?= bookworm trixie
FUZZ_SECONDS ?= 60
BENCH_THREADS ?= 1,2
BENCH_OPTIONS ?=
COMMAND_OPTIONS ?=
LOAD_SECONDS ?= 120
LITE_MODEL ?= runs/cxrs-320/model.keras
VENV := .venv
DEMO_VENV := .venv-demo
TFLITE_RUNTIME_VENV := .venv-tflite-runtime
PYTHON311 ?= python3.11

.PHONY: demo test test-pythons test-tflite-runtime test-slow test-arm64 test-armv7 fuzz memory load lint complexity
.PHONY: bench measure-command measure-settings lite three-networks offline-bundle pretrain model release golden clean

demo: $(DEMO_VENV)/.done  ## Install the runtime only and grade an image: make demo IMAGE=scan.png
	$(DEMO_VENV)/bin/cxrs-edge predict "$(IMAGE)"

test: lint  ## Lint, type-check, test; the runtime alone on each Python of this machine
	sh tests/packaging/install_debian.sh
	$(VENV)/bin/python -m pytest -m "not slow"
	$(VENV)/bin/python tests/packaging/run_on_each_python.py --fast

test-pythons: $(VENV)/.done  ## All tests of the wheel's runtime alone, on each Python of this machine
	$(VENV)/bin/python tests/packaging/run_on_each_python.py

# Its models are drawn with LiteRT's schema, which must not be taken for an installed LiteRT by anything else.
test-tflite-runtime: $(TFLITE_RUNTIME_VENV)/.done  ## What every engine must do, on tflite-runtime 2.14 and numpy 1
	PYTHONPATH=$(TFLITE_RUNTIME_VENV)/schema $(TFLITE_RUNTIME_VENV)/bin/python -m pytest -k tflite_runtime \
	    tests/edge/test_conformance.py

test-slow: $(VENV)/.done  ## The tests that take minutes
	$(VENV)/bin/python -m pytest -m slow

test-arm64: $(VENV)/.done  ## As root: real aarch64 wheels in an emulated arm64 Debian against this computer
	$(VENV)/bin/python tests/arm64/run.py --release $(RELEASES)
	$(VENV)/bin/python tests/arm64/run_docs.py --release $(firstword $(RELEASES))

test-armv7: $(VENV)/.done  ## As root: the bundled model on 32 bit ARM with tflite-runtime, all that PyPI has for it
	sh tests/arm64/prove_armv7.sh $(VENV)/bin/python

offline-bundle: $(VENV)/.done  ## An archive that installs without a network: PLATFORM, PYTHON_VERSION, ENGINES
	$(VENV)/bin/python offline/make_bundle.py --platform $(PLATFORM) --python $(PYTHON_VERSION) \
	    $(addprefix --engine ,$(ENGINES))

fuzz: $(VENV)/.done  ## Coverage-guided fuzzing of all that parses, FUZZ_SECONDS for each of its six targets
	$(VENV)/bin/pip install --quiet --editable '.[fuzz]'
	$(VENV)/bin/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

memory: $(VENV)/.done  ## Peak memory of predicting the largest file of each kind, the table of docs/limits.md
	$(VENV)/bin/python bench/measure_memory.py

measure-command: $(VENV)/.done  ## On an idle machine, ten minutes: what `predict` takes beside inference
	$(VENV)/bin/python bench/measure_command.py $(COMMAND_OPTIONS)

measure-settings: $(VENV)/.done  ## On an idle machine, six minutes: what engines' settings and caches are worth
	$(VENV)/bin/python bench/measure_settings.py

load: $(VENV)/.done  ## 8 clients at `cxrs-edge serve` for LOAD_SECONDS: requests, refusals, errors, latency, memory
	$(VENV)/bin/python bench/load_serve.py --seconds $(LOAD_SECONDS)

lint: $(VENV)/.done
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

complexity: $(VENV)/.done  ## The table of docs/complexity.md
	$(VENV)/bin/cxrs-edge complexity

# On an idle machine; half an hour on two cores, plus some minutes for the model files the first time.
bench: $(VENV)/.done runs/networks/.done  ## Times of the three networks on every engine: docs/bench/bench.json, .html, .md
	mkdir -p docs/bench
	$(VENV)/bin/cxrs-edge bench run --models runs/networks --threads $(BENCH_THREADS) -o docs/bench/bench.json \
	    --overwrite $(BENCH_OPTIONS)
	$(VENV)/bin/cxrs-edge bench analyse docs/bench/bench.json --models runs/networks \
	    $(if $(wildcard $(DATA)),--labels $(DATA))
	$(VENV)/bin/cxrs-edge bench report docs/bench/bench.json -o docs/bench/bench.html \
	    $(addprefix --three-networks ,$(wildcard docs/bench/three-networks.json))

# CXR-S, ResNet-50 and CheXNet trained alike: docs/three-networks.md. Under an hour of one core, resumable.
three-networks: $(VENV)/.done  ## Their accuracy by folds of patients, from DATA and PRETRAIN_DATA
	$(VENV)/bin/python export/three_networks.py $(DATA) $(PRETRAIN_DATA) -o runs/three-networks

runs/networks/.done: export/checkpoints/cxrs.keras | $(VENV)/.done
	$(VENV)/bin/cxrs-edge export export/checkpoints/cxrs.keras --baselines -o runs/networks \
	    --calibration-images 50 --verification-images 50 $(if $(wildcard $(DATA)),--calibration $(DATA))
	touch $@

# A backbone for `cxrs-edge train --init`, from the findings at PRETRAIN_DATA: some 90 minutes, resumable.
pretrain: $(VENV)/.done
	$(VENV)/bin/cxrs-edge pretrain $(PRETRAIN_DATA) -o runs/pretrain-128 --without $(DATA) \
	    --config export/recipes/pretrain-128.toml
	$(VENV)/bin/cxrs-edge pretrain $(PRETRAIN_DATA) -o runs/pretrain-192 --without $(DATA) \
	    --config export/recipes/pretrain-192.toml --init runs/pretrain-128/model.keras

# The bundled model from the labelled set at DATA and the normal films at PRETRAIN_DATA, resumable; then `make release`.
# First, on folds of patients, what the recipe is worth and the numbers of its card; then the same recipe on all of the
# train split.
TRAIN_320 = --config export/recipes/cxrs-320.toml --normals $(PRETRAIN_DATA) --init runs/pretrain-192/model.keras
TRAIN_480 = --config export/recipes/cxrs-480.toml --normals $(PRETRAIN_DATA)
model: pretrain
	$(VENV)/bin/cxrs-edge crossval $(DATA) -o runs/crossval-320 $(TRAIN_320)
	$(VENV)/bin/cxrs-edge crossval $(DATA) -o runs/crossval-480 $(TRAIN_480) --init runs/crossval-320 --masked
	$(VENV)/bin/cxrs-edge train $(DATA) -o runs/cxrs-320 $(TRAIN_320)
	$(VENV)/bin/cxrs-edge train $(DATA) -o runs/cxrs-480 $(TRAIN_480) --init runs/cxrs-320/model.keras

release: $(VENV)/.done $(TFLITE_RUNTIME_VENV)/.done
	$(VENV)/bin/python export/release_model.py runs/cxrs-480/model.keras $(DATA) --out-of-fold runs/crossval-480

# A second network, for slow boards, at 320 px: docs/performance.md. By default the first stage of `make model`.
lite: $(VENV)/.done  ## cxrs-lite from LITE_MODEL: runs/cxrs-lite, not bundled
	$(VENV)/bin/cxrs-edge export $(LITE_MODEL) --name cxrs-lite -o runs/cxrs-lite --quantize --calibration $(DATA)

# What every engine answers to drawn phantoms, for `cxrs-edge selftest`; a release does it too.
golden: $(VENV)/.done $(TFLITE_RUNTIME_VENV)/.done
	$(VENV)/bin/python export/release_golden.py

# The stamp is older than pyproject.toml whenever a dependency may have changed.
$(VENV)/.done: pyproject.toml
	sh tests/packaging/make_venv.sh "$(PYTHON)" $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

# tflite-runtime ends at Python 3.11 and numpy 1, so it has an environment of its own.
$(TFLITE_RUNTIME_VENV)/.done: pyproject.toml Makefile
	sh tests/packaging/make_venv.sh "$(PYTHON311)" $(TFLITE_RUNTIME_VENV)
	$(TFLITE_RUNTIME_VENV)/bin/pip install --quiet tflite-runtime==2.14.0 'numpy<2' pytest hypothesis flatbuffers \
	    --editable .
	$(TFLITE_RUNTIME_VENV)/bin/pip install --quiet --no-deps --upgrade --target $(TFLITE_RUNTIME_VENV)/schema \
	    'ai-edge-litert>=2.0'
	touch $@

$(DEMO_VENV)/.done: pyproject.toml $(shell find cxrs_edge -type f -not -name '*.pyc')
	sh tests/packaging/make_venv.sh "$(PYTHON)" $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install --quiet --upgrade '.[tflite]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(TFLITE_RUNTIME_VENV) .venv-py* build dist
