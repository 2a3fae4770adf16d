  // A code becomes the number it stands for, two cycles later.
  reg [15:0] past_1, past_2;
  always @(posedge clk) begin
    past_1 <= {code, keep, width, is_signed, exponent_limit};
    past_2 <= past_1;
  end
  wire [7:0] was;
  wire kept, has_sign;
  wire [1:0] bits;
  wire [3:0] limit;
  assign {was, kept, bits, has_sign, limit} = past_2;

  wire has_sign_now = SIGNED || is_signed && !UNSIGNED;
  always @* begin
    assume (WIDTHS[width]);
    if (!PADDED) assume (keep);
    assume (exponent_limit != 0);
    if (LIMITS != 0) assume (width == 2 || !has_sign_now || LIMITS[exponent_limit]);
  end

  wire signed [18:0] defined;
  code_integer code_integer(
    .width(bits), .is_signed(SIGNED || has_sign && !UNSIGNED), .limit(limit), .code(was),
    .integer_o(defined)
  );
  wire signed [18:0] expected = kept ? defined : 0;
  if (LINEAR) begin: linear
    always @* assert ($signed(number) == expected);
  end else begin: floating
    wire [EXPONENT+SIGNIFICAND:0] fields = number;
    wire signed [31:0] magnitude = fields[SIGNIFICAND:1] << (fields >> (SIGNIFICAND + 1));
    always @* assert ((fields[0] ? -magnitude : magnitude) == expected);
  end
