# make demo    make .venv, install the locked versions, show the whole story on a bundled model
# make test    the same installation, then every check and test
# make zoo     every model family through every column, written to docs/zoo.md (an hour)
# make peers   the bundled nets through other quantizers, each in an environment of its own under build/peers (6 GB),
#              written to docs/peers.md (an hour)
# make gpu     two nets on this machine's GPU, written to benchmarks/results; exits 2 where there is none
# make arm64   the image of the emulated arm64 board, kept in ~/.cache/slimedge; needs qemu-system-arm
# make full-set | qat | pruned | words | speed | weight-only | aa | export-cost | calibration-cost | observer-effect |
#      method-effect | harness-overhead | profile-exactness | bit-budget | activation-bits | channels |
#      channel-exactness | clustered | low-rank | distilled | recipes | microcontroller | resuming | two-workers |
#      emulated | qat-recipe | train-demo | train-words
#              the measurements under benchmarks/, written to benchmarks/results; each exits 1
#              where one of its bars is missed. make measure runs all but the last three.
# make install only the installation;  make wheel  a wheel in dist/;  make clean  remove what make made
#
# PYTHON=/path/to/python chooses the interpreter; else the newest of python3.13 … python3.11, python3 that fits.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := src/slimedge compress export runtime benchmarks

# The locked versions have wheels for these; a name alone proves nothing (it may be a shim), so each is asked.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	if "$$name" -c '$(FITS)' 2>/dev/null; then command -v "$$name"; break; fi; done)
UV := $(shell command -v uv 2>/dev/null)

# An editable install links the files that there are, so it is made again when a file comes or goes.
FILES := $(shell find $(PACKAGES) -name __pycache__ -prune -o -type f -print 2>/dev/null | LC_ALL=C sort | cksum | cut -d' ' -f1)
MADE := $(VENV)/.made
LOCKED := $(VENV)/.locked
LINKED := $(VENV)/.linked-$(FILES)

.PHONY: help demo test install lint wheel clean arm64 zoo measure full-set qat pruned words speed weight-only aa \
	export-cost harness-overhead profile-exactness calibration-cost observer-effect method-effect bit-budget \
	activation-bits channels channel-exactness clustered low-rank distilled recipes microcontroller resuming \
	two-workers emulated qat-recipe train-demo train-words peers gpu

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

demo: install
	$(BIN)/slimedge demo

test: lint
	$(BIN)/python -m pytest tests --numprocesses 2 --dist worksteal --durations 60
	$(BIN)/python -m pytest --doctest-modules --pyargs slimedge

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict -p slimedge
	$(BIN)/lint-imports

arm64: install
	$(BIN)/python -m slimedge.runtime.devices.board

zoo: install
	$(BIN)/python -m slimedge.benchmarks.zoo

measure: full-set qat pruned words speed weight-only aa export-cost calibration-cost observer-effect method-effect \
	harness-overhead profile-exactness bit-budget activation-bits channels channel-exactness clustered low-rank \
	distilled recipes microcontroller resuming two-workers emulated

full-set: install
	$(BIN)/python -m slimedge.benchmarks.full_set

qat: install
	$(BIN)/python -m slimedge.benchmarks.qat

# Chosen on held-out training images; qat takes what it found.
qat-recipe: install
	$(BIN)/python -m slimedge.benchmarks.qat_recipe

pruned: install
	$(BIN)/python -m slimedge.benchmarks.pruned

words: install
	$(BIN)/python -m slimedge.benchmarks.words_accuracy

speed: install
	$(BIN)/python -m slimedge.benchmarks.speed

weight-only: install
	$(BIN)/python -m slimedge.benchmarks.weight_only

# The demo's files: 30 and 100 µs an inference.
aa: install
	$(BIN)/slimedge demo --quiet --effort quick --output build/aa
	$(BIN)/python -m slimedge.benchmarks.aa build/aa/resnet8_int8.tflite build/aa/resnet8.onnx

# What the agent's sampling adds to a latency, in one process with bare loops.
harness-overhead: install
	$(BIN)/python -m slimedge.benchmarks.harness_overhead

profile-exactness: install
	$(BIN)/python -m slimedge.benchmarks.profile_exactness

export-cost: install
	$(BIN)/python -m slimedge.benchmarks.export_cost --rounds 2

calibration-cost: install
	$(BIN)/python -m slimedge.benchmarks.calibration_cost

method-effect: install
	$(BIN)/python -m slimedge.benchmarks.method_effect

bit-budget: install
	$(BIN)/python -m slimedge.benchmarks.bit_budget

activation-bits: install
	$(BIN)/python -m slimedge.benchmarks.activation_bits

channels: install
	$(BIN)/python -m slimedge.benchmarks.channels

channel-exactness: install
	$(BIN)/python -m slimedge.benchmarks.channel_exactness

clustered: install
	$(BIN)/python -m slimedge.benchmarks.clustered

low-rank: install
	$(BIN)/python -m slimedge.benchmarks.low_rank

distilled: install
	$(BIN)/python -m slimedge.benchmarks.distilled

recipes: install
	$(BIN)/python -m slimedge.benchmarks.recipe_results

gpu: install
	$(BIN)/python -m slimedge.benchmarks.gpu

two-workers: install
	$(BIN)/python -m slimedge.benchmarks.two_workers

microcontroller: install
	$(BIN)/python -m slimedge.benchmarks.microcontroller

emulated: install
	$(BIN)/python -m slimedge.benchmarks.emulated

# A short recipe, killed 20 times.
resuming: install
	$(BIN)/python -m slimedge.benchmarks.resuming

observer-effect: install
	$(BIN)/python -m slimedge.benchmarks.observer_effect

# Each peer's environment holds exactly its requirements, and is made again when these change.
PEERS := benchmarks/peers/requirements-
PEER_ENVIRONMENTS := $(patsubst $(PEERS)%.txt,build/peers/env/%/.made,$(wildcard $(PEERS)*.txt))

build/peers/env/%/.made: $(PEERS)%.txt | $(MADE)
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.SECONDARY: $(PEER_ENVIRONMENTS)

peers: install $(PEER_ENVIRONMENTS)
	$(BIN)/python -m slimedge.benchmarks.peers

train-demo: install
	$(BIN)/python -m slimedge.benchmarks.train_demo

train-words: install
	$(BIN)/python -m slimedge.benchmarks.train_words

install: $(LINKED)

$(MADE):
	@if ! "$(PYTHON)" -c '$(FITS)' 2>/dev/null; then \
		echo "make: slimedge needs Python 3.11, 3.12 or 3.13, but $(if $(PYTHON),'$(PYTHON)' is not one,none was found); install one, or say make PYTHON=/path/to/python." >&2; exit 2; fi
ifneq ($(UV),)
	$(UV) venv --quiet --seed --allow-existing --python "$(PYTHON)" $(VENV)
else
	@if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "make: '$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu, apt-get install python3-venv." >&2; exit 2; fi
	"$(PYTHON)" -m venv $(VENV)
endif
	@touch $@

$(LOCKED): $(MADE) requirements.lock
	@echo "make: installing the locked versions into $(VENV); the first time this takes a few minutes"
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python -r requirements.lock
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
endif
	@touch $@

$(LINKED): $(LOCKED) pyproject.toml setup.cfg
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@rm -f $(VENV)/.linked-*
	@touch $@

# setuptools would put what an earlier build left in build/ into the wheel as well.
wheel: install
	rm -rf build/lib build/bdist.*
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) build dist src/slimedge.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
