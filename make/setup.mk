.PHONY: setup rivals clean

setup: $(STAMP) ## .venv with everything, from the lock file constraints.txt

PIP := $(RUN) -m pip -qq --disable-pip-version-check

# The stamp is the last thing written: without it, what an interrupted run left is thrown away.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "setup: $(PYTHON) must be Python 3.11 or newer; name another by make PYTHON=python3.12" >&2; \
	  exit 1; }
	@test -e $@ || rm -rf $(VENV)
	@rm -f $@
	@test -d $(VENV) || { echo "setup: creating $(VENV)"; $(PYTHON) -m venv $(VENV); } || { \
	  echo "setup: no virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: installing the packages of constraints.txt"
	@$(PIP) install --constraint constraints.txt setuptools && \
	 $(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev]' || { \
	  echo "setup: pip failed, its reason is above; check the network and the disk, then run make setup again" >&2; \
	  exit 1; }
	@touch $@

rivals: $(STAMP) ## the libraries that `make bench` compares with, into .venv
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev,rivals]'

clean: ## remove everything generated; .venv stays
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis
