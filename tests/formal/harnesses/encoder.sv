  // Without back-pressure, what comes out is the code of what went in four cycles before: of the
  // codes allowed, the one whose value is nearest; of two, the even one.
  localparam BITS = MAGNITUDE + 19;
  wire [BITS:0] now = {i__valid, i__payload};
  reg [BITS:0] past_1, past_2, past_3, past_4;
  always @(posedge clk) {past_4, past_3, past_2, past_1} <= {past_3, past_2, past_1, now};

  wire was_valid, negative, half, sticky, sign_asked, relu;
  wire [MAGNITUDE-1:0] magnitude;
  wire [1:0] width;
  wire [3:0] limit;
  wire [7:0] max_code;
  assign {was_valid, max_code, relu, limit, sign_asked, width, sticky, half, magnitude, negative} =
    past_4;

  always @* begin
    assume (o__ready);
    assume (WIDTHS[width]);
    assume (limit != 0);
  end

  wire has_sign = ALWAYS_SIGNED || sign_asked;
  wire without_zero = GRIDS_WITHOUT_ZERO[width];

  wire [3:0] bits = (2 << width) - has_sign;
  wire [8:0] largest = (1 << bits) - 1;
  wire dropped = negative && (relu || !has_sign);
  wire [7:0] last = dropped ? 0 : max_code < largest ? max_code : largest;

  wire [7:0] code = o__payload & largest;
  wire [17:0] here, below, above;
  magnitude_integer of_code(.bits(bits), .limit(limit), .code(code), .integer_o(here));
  magnitude_integer of_below(.bits(bits), .limit(limit), .code(code - 8'd1), .integer_o(below));
  magnitude_integer of_above(.bits(bits), .limit(limit), .code(code + 8'd1), .integer_o(above));

  // In halves, so that what lies midway between two integers is one, too.
  wire [18:0] twice = {magnitude, half};
  wire [18:0] midway_below = here + below;
  wire [18:0] midway_above = here + above;
  wire even = !code[0];
  wire something = without_zero ? twice != 0 || sticky : code != 0;

  always @* begin
    assert (i__ready);
    assert (o__valid == was_valid);
    assert (code <= last);
    if (code > 0)
      assert (twice > midway_below || twice == midway_below && (sticky || even));
    if (code < last)
      assert (twice < midway_above || twice == midway_above && !sticky && even);
    // The sign, and nothing above it; there is no negative zero.
    assert (o__payload >> bits == (!dropped && negative && something));
  end
