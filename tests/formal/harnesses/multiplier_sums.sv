  // With its products cut out, so that they are any numbers up to the largest, a lane of a mode is
  // the sum of its products `LATENCY` cycles before, modulo its width and less the offset.
  localparam COUNT = CHANNELS * LANES;
  localparam LANE = SUMS / LANES;
  wire [COUNT*PRODUCT-1:0] products = {products};
  wire [COUNT-1:0] negative;
  for (genvar k = 0; k < CHANNELS; k = k + 1) begin: signs
    for (genvar l = 0; l < LANES; l = l + 1) begin: lanes
      wire signed [PRODUCT:0] product = SIGNED
        ? $signed(products[(k*LANES + l)*PRODUCT +: PRODUCT])
        : products[(k*LANES + l)*PRODUCT +: PRODUCT];
      assign negative[k*LANES + l] =
        !SIGNED && activation[k*A_LANE] != weights[k*W_OPERAND + l*W_LANE];
      always @* assume (product <= LARGEST && product >= -LARGEST);
    end
  end

  // Products come `DELAY` cycles after their operands.
  localparam BITS = MODE_BITS + COUNT;
  reg [LATENCY*BITS-1:0] past;
  wire [LATENCY*BITS-1:0] shifted = past << BITS;
  reg [(LATENCY-DELAY)*COUNT*PRODUCT-1:0] past_products;
  wire [(LATENCY-DELAY)*COUNT*PRODUCT-1:0] shifted_products = past_products << (COUNT * PRODUCT);
  always @(posedge clk) begin
    past <= shifted | {negative, mode};
    past_products <= shifted_products | products;
  end
  wire [MODE_BITS-1:0] was_mode;
  wire [COUNT-1:0] were_negative;
  assign {were_negative, was_mode} = past[(LATENCY-1)*BITS +: BITS];
  wire [COUNT*PRODUCT-1:0] were =
    past_products[(LATENCY-DELAY-1)*COUNT*PRODUCT +: COUNT*PRODUCT];

  for (genvar l = 0; l < LANES; l = l + 1) begin: lanes
    wire [CHANNELS*LANE-1:0] terms;
    for (genvar k = 0; k < CHANNELS; k = k + 1) begin: operands
      wire [LANE-1:0] term = SIGNED ? $signed(were[(k*LANES + l)*PRODUCT +: PRODUCT])
        : were[(k*LANES + l)*PRODUCT +: PRODUCT];
      assign terms[k*LANE +: LANE] = were_negative[k*LANES + l] ? -term : term;
    end
    wire [LANE-1:0] expected;
    if (CHANNELS == 1) assign expected = terms;
    if (CHANNELS == 2) assign expected = terms[0 +: LANE] + terms[LANE +: LANE];
    if (CHANNELS == 4)
      assign expected = (terms[0 +: LANE] + terms[LANE +: LANE])
        + (terms[2*LANE +: LANE] + terms[3*LANE +: LANE]);
    wire [LANE-1:0] found = sums[l*LANE +: LANE] + carries[l*CARRIES/LANES] - OFFSET;
    always @* if (was_mode == MODE) assert (found == expected);
  end
  always @* assert (sums_mode == was_mode);
