.PHONY: qat accuracy

qat: $(STAMP) ## train a digits CNN in 2 bits: accuracy in float, calibrated and trained
	$(RUN) examples/digits_cnn.py build/example
	$(RUN) -m dybit.scripts.train examples/digits_cnn.py:build \
	  --weights build/example/weights.pt --images build/example/train.npz \
	  --test build/example/test.npz --config configs/digits-w2a2.toml --epochs 20 \
	  --output build/qat

accuracy: $(STAMP) ## every format on three digits networks, cross-validated; hours of one core
	$(RUN) -m dybit.scripts.bench --only accuracy
