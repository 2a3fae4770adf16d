  // A word becomes lanes of the integers that its codes stand for, two cycles later.
  wire [3:0] lanes_kept = keep;
  reg [18:0] past_1, past_2;
  always @(posedge clk) begin
    past_1 <= {word, lanes_kept, width, is_signed, exponent_limit};
    past_2 <= past_1;
  end
  wire [7:0] code;
  wire [3:0] kept;
  wire [1:0] bits;
  wire has_sign;
  wire [3:0] limit;
  assign {code, kept, bits, has_sign, limit} = past_2;
  wire negative = SIGNED ? 1 : UNSIGNED ? 0 : has_sign;

  always @* begin
    assume (width == 0 && HAS_2 || width == 1 && HAS_4 || width == 2 && HAS_8);
    assume (exponent_limit != 0);
    if (RUN_TIME) assume (width == 2 || !has_sign_now || LIMITS[exponent_limit]);
  end
  wire has_sign_now = SIGNED || is_signed && !UNSIGNED;

  if (HAS_8) begin: wide
    wire [17:0] magnitude;
    magnitude_integer of_code(
      .bits(negative ? 4'd7 : 4'd8), .limit(limit), .code({code[7] & ~negative, code[6:0]}),
      .integer_o(magnitude)
    );
    wire [17:0] expected = kept[0] ? magnitude : 0;
    wire minus = negative & code[7];
    if (LINEAR) begin: linear
      wire signed [18:0] positive = expected;
      always @* if (bits == 2)
        assert ($signed(operand[INTEGER-1:0]) == (minus ? -positive : positive));
    end else begin: floating
      wire sign;
      wire [SIGNIFICAND-1:0] significand;
      wire [SIGNIFICAND+1:0] tripled;
      wire [EXPONENT-1:0] exponent;
      assign {exponent, tripled, significand, sign} = operand;
      always @* if (bits == 2) begin
        assert ({22'd0, significand} << exponent == expected);
        assert (tripled == 3 * significand);
        if (expected != 0) assert (sign == minus);
      end
    end
  end

  // What a narrow lane's code stands for is said by what the lanes are built for.
  localparam LANE_4 = 1 + CODE_4;
  for (genvar k = 0; k < 2 * HAS_4; k = k + 1) begin: four
    wire [3:0] lane = code[4*k +: 4];
    wire [17:0] magnitude, found;
    magnitude_integer of_code(
      .bits(negative ? 4'd3 : 4'd4), .limit(RUN_TIME & negative ? limit : 4'(LIMIT)),
      .code({lane[3] & ~negative, lane[2:0]}), .integer_o(magnitude)
    );
    wire [CODE_4-1:0] lane_code = operand[LANE_4*k + 1 +: CODE_4];
    if (RUN_TIME) begin: odd
      wire [2:0] exponent = lane_code[CODE_4-1 -: 3];
      wire [2:0] odd = {lane_code[0 +: CODE_4-3], 1'b1};
      assign found = exponent == 0 ? 0 : {12'd0, odd} << (exponent - 1);
    end else begin: plain
      magnitude_integer of_lane(
        .bits(4'(CODE_4)), .limit(4'(LIMIT)), .code(lane_code), .integer_o(found)
      );
    end
    wire [17:0] expected = kept[k] ? magnitude : 0;
    always @* if (bits == 1) begin
      assert (found == expected);
      if (expected != 0) assert (operand[LANE_4*k] == (negative & lane[3]));
    end
  end

  localparam LANE_2 = 1 + CODE_2;
  for (genvar k = 0; k < 4 * HAS_2; k = k + 1) begin: two
    wire [1:0] lane = code[2*k +: 2];
    wire [17:0] magnitude, found;
    magnitude_integer of_code(
      .bits(negative ? 4'd1 : 4'd2), .limit(4'd2), .code({lane[1] & ~negative, lane[0]}),
      .integer_o(magnitude)
    );
    wire [CODE_2-1:0] lane_code = operand[LANE_2*k + 1 +: CODE_2];
    magnitude_integer of_lane(.bits(4'(CODE_2)), .limit(4'd2), .code(lane_code), .integer_o(found));
    wire [17:0] expected = kept[k] ? magnitude : 0;
    always @* if (bits == 0) begin
      assert (found == expected);
      if (expected != 0) assert (operand[LANE_2*k] == (negative & lane[1]));
    end
  end
