.PHONY: test test-full lint typecheck

# Test processes: one for each core.
JOBS ?= auto

test: $(STAMP) ## every test; JOBS=N sets the number of processes
	$(RUN) -m pytest -q -n $(JOBS) --dist worksteal

test-full: $(STAMP) ## networks at full size and long benches on the accelerator's RTL: minutes
	$(RUN) -m pytest -q -m full --full -n $(JOBS) --dist worksteal

lint: $(STAMP) ## ruff: rules and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# mypy finds the packages by a tree shaped as they import: dybit/hw, dybit/quant, ...
typecheck: $(STAMP) ## mypy, strict
	@mkdir -p build/typecheck/dybit
	@for package in hw quant sim scripts; do \
	  ln -sfn ../../../$$package build/typecheck/dybit/$$package; done
	cd build/typecheck && ../../$(RUN) -m mypy --config-file ../../pyproject.toml -p dybit
