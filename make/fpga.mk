.PHONY: bitstream

BOARD ?= ulx3s

bitstream: $(STAMP) ## build/bitstream/BOARD/: an image for BOARD=ulx3s or zcu102; CONFIG, MHZ, SEED
	$(RUN) -m dybit.scripts.bitstream --board '$(BOARD)' \
	  $(if $(filter-out file,$(origin CONFIG)),--config '$(CONFIG)') \
	  $(if $(MHZ),--mhz '$(MHZ)') $(if $(SEED),--seed '$(SEED)')
