.PHONY: bitstream

BOARD ?= ulx3s

IMAGE_OPTIONS = $(if $(filter-out file,$(origin CONFIG)),--config '$(CONFIG)')
IMAGE_OPTIONS += $(if $(MHZ),--mhz '$(MHZ)') $(if $(SEED),--seed '$(SEED)')

bitstream: $(STAMP) ## build/bitstream/BOARD/: an image for BOARD=ulx3s or zcu102; CONFIG, MHZ, SEED
	$(RUN) -m dybit.scripts.bitstream --board '$(BOARD)' $(IMAGE_OPTIONS)
