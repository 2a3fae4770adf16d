  // What multiplier k * LANES + l is given is lane k of the activation and lane l of weight byte k.
  wire [CHANNELS*LANES*A_FACTOR-1:0] a_factors = {a_factors};
  wire [CHANNELS*LANES*W_FACTOR-1:0] w_factors = {w_factors};
  for (genvar k = 0; k < CHANNELS; k = k + 1) begin: channels
    wire signed [23:0] a;
    lane_a of_a(.lane(activation[k*A_LANE +: A_LANE]), .integer_o(a));
    for (genvar l = 0; l < LANES; l = l + 1) begin: lanes
      wire signed [23:0] w;
      lane_w of_w(.lane(weights[k*W_OPERAND + l*W_LANE +: W_LANE]), .integer_o(w));
      always @* begin
        assume (a <= A_LARGEST && a >= -A_LARGEST && w <= W_LARGEST && w >= -W_LARGEST);
        if (mode == MODE) begin
          assert ($signed(a_factors[(k*LANES + l)*A_FACTOR +: A_FACTOR]) == a);
          assert ($signed(w_factors[(k*LANES + l)*W_FACTOR +: W_FACTOR]) == w);
        end
      end
    end
  end
