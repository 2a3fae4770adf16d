# Thin over `python -m dybit.scripts.*`; later targets live in files of their own under make/.
# A target's one-line help follows `##` on its rule.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

# Outputs depend on their inputs alone.
export PYTHONHASHSEED := 0

# Work here is spread over processes; threads of small matrices mostly wait for each other.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

.PHONY: help
help: ## list the targets
	@echo "usage: make TARGET [CONFIG=configs/NAME.toml]"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | sort | expand -t 16

include $(sort $(wildcard make/*.mk))
