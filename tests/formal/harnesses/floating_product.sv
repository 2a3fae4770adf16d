  // The significands are multiplied in two cycles; the product is their product, shifted by the sum
  // of the exponents, as far as the port reaches.
  localparam BITS = A_BITS + A_EXPONENT + B_BITS + B_EXPONENT;
  wire [A_BITS-1:0] a_now = a[0 +: A_BITS];
  wire [B_BITS-1:0] b_now = b[0 +: B_BITS];
  wire [31:0] exponent_now = (a >> (2 * A_BITS + 2)) + (b >> B_BITS);
  always @* assume (a[A_BITS +: A_BITS + 2] == 3 * a_now && exponent_now <= MAX_EXPONENT);

  reg [A_BITS-1:0] a_1, a_2;
  reg [B_BITS-1:0] b_1, b_2;
  reg [31:0] exponent_1, exponent_2;
  always @(posedge clk) begin
    {a_2, a_1} <= {a_1, a_now};
    {b_2, b_1} <= {b_1, b_now};
    {exponent_2, exponent_1} <= {exponent_1, exponent_now};
  end

  wire [A_BITS+B_BITS-1:0] significand = inside__significand;
  wire [63:0] expected = {64'd0, significand} << exponent_2;
  if (SIGNIFICANDS) always @* assert (significand == a_2 * b_2);
  else always @* if (expected <= LARGEST) assert (product == expected);
