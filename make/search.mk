.PHONY: report

report: $(STAMP) ## build/report.html: what the search finds for three networks; CONFIG=...
	$(RUN) -m dybit.scripts.report --config '$(or $(SIM_CONFIG),configs/imagenet-all-modes.toml)'
