.PHONY: demo verilog sim resources bench

CONFIG ?= configs/digits-mixed.toml
ifneq ($(origin CONFIG),file)
SIM_CONFIG := $(CONFIG)
endif

demo: $(STAMP) ## the whole chain on handwritten digits: train, quantise, emit, run the RTL
	$(RUN) -m dybit.scripts.demo

verilog: $(STAMP) ## build/verilog/CONFIG/: Verilog and manifest.json; TOP=accelerator: all of it
	$(RUN) -m dybit.scripts.verilog --config '$(CONFIG)' $(if $(TOP),--top '$(TOP)')

sim: $(STAMP) ## every RTL bench against its model; CONFIG=... names the array
	$(RUN) -m dybit.scripts.sim $(if $(SIM_CONFIG),--config '$(SIM_CONFIG)')

resources: $(STAMP) ## build/resources/CONFIG.json: LUT, FF, DSP, BRAM and logic depth by block; DSP=no
	$(RUN) -m dybit.scripts.resources --config '$(CONFIG)' $(if $(filter no,$(DSP)),--no-dsp)

bench: $(STAMP) ## build/bench/*.json: every performance figure
	$(RUN) -m dybit.scripts.bench
