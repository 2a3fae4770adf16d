  // Multiplier k * LANES + l is given the magnitudes of lane k of the activation and of lane l of
  // weight byte k: significands, the first three times as well, and exponents.
  wire [CHANNELS*LANES*A_FACTOR-1:0] a_factors = {a_factors};
  wire [CHANNELS*LANES*W_FACTOR-1:0] w_factors = {w_factors};
  for (genvar k = 0; k < CHANNELS; k = k + 1) begin: channels
    wire signed [23:0] a;
    lane_a of_a(.lane(activation[k*A_LANE +: A_LANE]), .integer_o(a));
    for (genvar l = 0; l < LANES; l = l + 1) begin: lanes
      wire signed [23:0] w;
      lane_w of_w(.lane(weights[k*W_OPERAND + l*W_LANE +: W_LANE]), .integer_o(w));
      wire [A_FACTOR-1:0] factor_a = a_factors[(k*LANES + l)*A_FACTOR +: A_FACTOR];
      wire [W_FACTOR-1:0] factor_w = w_factors[(k*LANES + l)*W_FACTOR +: W_FACTOR];
      wire [23:0] first = factor_a[A_BITS-1:0];
      wire [23:0] second = factor_w[W_BITS-1:0];
      always @* begin
        assume (a <= A_LARGEST && a >= -A_LARGEST && w <= W_LARGEST && w >= -W_LARGEST);
        if (mode == MODE) begin
          assert (first << (factor_a >> (2 * A_BITS + 2)) == (a < 0 ? -a : a));
          assert (factor_a[A_BITS +: A_BITS + 2] == 3 * first);
          assert (second << (factor_w >> W_BITS) == (w < 0 ? -w : w));
        end
      end
    end
  end
