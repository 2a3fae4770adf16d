  // Product k * LANES + l is that of lane k of the activation and lane l of weight byte k, with its
  // sign or without one.
  wire [CHANNELS*LANES*PRODUCT-1:0] products = {products};
  for (genvar k = 0; k < CHANNELS; k = k + 1) begin: channels
    wire signed [23:0] a;
    lane_a of_a(.lane(activation[k*A_LANE +: A_LANE]), .integer_o(a));
    for (genvar l = 0; l < LANES; l = l + 1) begin: lanes
      wire signed [23:0] w;
      lane_w of_w(.lane(weights[k*W_OPERAND + l*W_LANE +: W_LANE]), .integer_o(w));
      wire [PRODUCT-1:0] product = products[(k*LANES + l)*PRODUCT +: PRODUCT];
      wire [PRODUCT-1:0] expected = !SIGNED && (a < 0) != (w < 0) ? -(a * w) : a * w;
      always @* begin
        assume (a <= A_LARGEST && a >= -A_LARGEST && w <= W_LARGEST && w >= -W_LARGEST);
        assert (product == expected);
      end
    end
  end
