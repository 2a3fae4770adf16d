.PHONY: docs

docs: $(STAMP) ## docs/register-map.md, from the gateware's own definitions
	$(RUN) -m dybit.scripts.register_map
