  // A word becomes lanes of the integers that its codes stand for, two cycles later.
  reg [11:0] past_1, past_2;
  wire [1:0] lanes_kept = keep;
  always @(posedge clk) begin
    past_1 <= {word, lanes_kept, width};
    past_2 <= past_1;
  end
  wire [7:0] code;
  wire [1:0] kept, bits;
  assign {code, kept, bits} = past_2;

  always @* begin
    assume (width == 1 && HAS_4 || width == 2 && HAS_8);
    if (!PADDED) assume (lanes_kept == 3);
  end

  if (HAS_8) begin: wide
    wire [17:0] magnitude;
    magnitude_integer of_code(
      .bits(4'd7), .limit(4'd0), .code({1'b0, code[6:0]}), .integer_o(magnitude)
    );
    wire [17:0] expected = kept[0] ? magnitude : 0;
    if (LINEAR) begin: linear
      wire signed [18:0] positive = expected;
      always @* if (bits == 2)
        assert ($signed(operand[INTEGER-1:0]) == (code[7] ? -positive : positive));
    end else begin: floating
      wire sign = operand[0];
      wire [SIGNIFICAND-1:0] significand = operand[1 +: SIGNIFICAND];
      wire [SIGNIFICAND+1:0] tripled = operand[1 + SIGNIFICAND +: SIGNIFICAND + 2];
      wire [3:0] exponent = operand >> (3 + 2 * SIGNIFICAND) & ((1 << EXPONENT) - 1);
      always @* if (bits == 2) begin
        assert ({22'd0, significand} << exponent == expected);
        assert (tripled == 3 * significand);
        if (expected != 0) assert (sign == code[7]);
      end
    end
  end

  // On the grid without a zero a lane that may be kept out has a bit more, which tells.
  localparam LANE_4 = 1 + CODE_4;
  for (genvar k = 0; k < 2 * HAS_4; k = k + 1) begin: four
    wire [3:0] lane = code[4*k +: 4];
    wire [17:0] magnitude, lane_magnitude;
    wire [CODE_4-1:0] lane_code = operand[LANE_4*k + 1 +: CODE_4];
    magnitude_integer of_code(
      .bits(4'd3), .limit(4'd0), .code({5'd0, lane[2:0]}), .integer_o(magnitude)
    );
    magnitude_integer of_lane(
      .bits(4'd3), .limit(4'd0), .code({5'd0, lane_code[2:0]}), .integer_o(lane_magnitude)
    );
    wire [17:0] found = CODE_4 == 4 && ~lane_code[CODE_4-1] ? 0 : lane_magnitude;
    wire [17:0] expected = kept[k] ? magnitude : 0;
    always @* if (bits == 1) begin
      assert (found == expected);
      if (expected != 0) assert (operand[LANE_4*k] == lane[3]);
    end
  end
