.PHONY: prove

prove: $(STAMP) ## every proof, build/prove/report.json and the table of docs/verification.md
	$(RUN) -m dybit.scripts.prove --jobs '$(JOBS)'
