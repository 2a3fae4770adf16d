  // With the multiplier cut out, so that it gives anything whatever: each lane of the partial sums
  // is a cycle later the lane above plus the multiplier's own, modulo the lane's width.
  wire [BITS-1:0] sums = inside__multiplier__sums;
  reg [2*BITS+LANES+MODE_BITS-1:0] past;
  always @(posedge clk)
    past <= {psum_i, sums, inside__multiplier__carries, inside__multiplier__sums_mode};
  wire [BITS-1:0] above, own;
  wire [LANES-1:0] carries;
  wire [MODE_BITS-1:0] mode;
  assign {above, own, carries, mode} = past;

  for (genvar level = 0; 1 << level <= LANES; level = level + 1) begin: levels
    localparam COUNT = 1 << level;
    localparam LANE = BITS / COUNT;
    for (genvar l = 0; l < COUNT; l = l + 1) begin: lanes
      wire [LANE-1:0] sum = above[l*LANE +: LANE] + own[l*LANE +: LANE] + carries[l*LANES/COUNT];
      always @* if (MODES[level*8 + mode]) assert (psum_o[l*LANE +: LANE] == sum);
    end
  end
