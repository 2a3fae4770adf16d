  // A tile is handed on exactly when its descriptor breaks no rule, and it says what the descriptor
  // says. The rules are written down here from the description of the descriptor. The multiplier is
  // cut out: what it gives is anything, followed here under the name of the product it is to be.
  function misplaced(input [63:0] address, input integer bits);
    misplaced = (address[39:0] & ((1 << bits) - 1)) != 0 | address[63:40] != 0;
  endfunction

  // The descriptor at hand.
  wire [1023:0] given = inside__given;
  wire depthwise = d__kind == 1;
  wire [2:0] channel_bits = 2'b11 & CHANNEL_BITS >> 2 * d__mode;
  wire [2:0] lane_bits = depthwise ? 0 : 2'b11 & LANE_BITS >> 2 * d__mode;
  wire [3:0] part_bits = channel_bits + ROW_BITS < COLUMN_BITS
    ? 0 : channel_bits + ROW_BITS - COLUMN_BITS;
  wire built = MODES_BUILT >> d__mode;
  wire wide_lane = WIDE_LANES >> d__mode;
  wire width_built = WIDTHS >> d__output_width;
  wire signedness_built = SIGNEDNESSES >> d__input_signed;
  wire [39:0] groups = d__column_tiles << lane_bits;
  wire [39:0] groups_before = d__column_tiles - 40'd1 << lane_bits;
  wire [2:0] slot_bits = d__raw == 0 ? 1 + d__output_width : 4 + d__raw;
  wire [39:0] pixel_bits = d__output_groups << slot_bits;
  wire [39:0] pitch_bits = d__output_pitch << 3;
  wire all_counted = d__input_rows != 0 & d__input_row_words != 0 & d__input_height != 0
    & d__input_width != 0 & d__blocks != 0 & d__tail != 0 & d__kernel_height != 0
    & d__kernel_width != 0 & d__stride_y != 0 & d__stride_x != 0 & d__block_count != 0
    & d__column_tiles != 0 & d__output_groups != 0 & d__output_height != 0
    & d__output_width_pixels != 0 & d__output_pitch != 0 & d__output_rows != 0
    & d__output_row_bytes != 0 & d__output_row_words != 0;
  wire [39:0] row_room = d__output_row_words << COLUMN_BITS;

  // Products, in the order in which they are made, as the multiplier gives them; and which are known.
  localparam TAKE = 0, LOOK = 1, MULTIPLY = 2, WAIT = 3, USE = 4, TELL = 5;
  wire [2:0] state = inside__fsm_state;
  wire [3:0] step = inside__step;
  wire looked = state >= MULTIPLY;
  wire [13:0] known = state == TELL ? 14'h3fff : looked ? (14'd1 << step) - 14'd1 : 14'd0;
  reg [39:0] row_words = 0;
  reg [39:0] input_words = 0;
  reg [39:0] loaded = 0;
  reg [39:0] pixels = 0;
  reg [39:0] output_words = 0;
  reg [39:0] stored = 0;
  reg [39:0] step_x = 0;
  reg [39:0] step_y = 0;
  reg [39:0] pad_y = 0;
  reg [39:0] pad_x = 0;
  reg [39:0] span = 0;
  reg [39:0] taps = 0;
  reg [39:0] reach_y = 0;
  reg [39:0] reach_x = 0;
  reg [39:0] left, right;
  always @* begin
    left = 0; right = 0;
    case (step)
      0: begin left = d__input_width; right = d__blocks; end
      1: begin left = row_words; right = d__input_height; end
      2: begin left = d__input_rows; right = d__input_row_words; end
      3: begin left = d__output_height; right = d__output_width_pixels; end
      4: begin left = pixels; right = d__output_pitch; end
      5: begin left = d__output_rows; right = d__output_row_words; end
      6: begin left = d__stride_x; right = d__blocks; end
      7: begin left = d__stride_y; right = row_words; end
      8: begin left = d__pad_top; right = row_words; end
      9: begin left = d__pad_left; right = d__blocks; end
      10: begin left = d__column_tiles - 40'd1; right = d__block_step; end
      11: begin left = d__kernel_height; right = d__kernel_width; end
      12: begin left = d__output_height - 40'd1; right = d__stride_y; end
      13: begin left = d__output_width_pixels - 40'd1; right = d__stride_x; end
      default: ;
    endcase
  end
  always @(posedge clk) if (state == USE) case (step)
    0: row_words <= inside__product;
    1: input_words <= inside__product;
    2: loaded <= inside__product;
    3: pixels <= inside__product;
    4: output_words <= inside__product;
    5: stored <= inside__product;
    6: step_x <= inside__product;
    7: step_y <= inside__product;
    8: pad_y <= inside__product;
    9: pad_x <= inside__product;
    10: span <= inside__product;
    11: taps <= inside__product;
    12: reach_y <= inside__product;
    13: reach_x <= inside__product;
    default: ;
  endcase

  // The rules broken by what is known, each under its number: bit 0 is rule 1.
  wire [22:0] broken_rules = looked ? {
    d__output_row_bytes >= 1 << 24,
    known[12] & reach_y >= 40'd0 + d__input_height + d__pad_top
      | known[13] & reach_x >= 40'd0 + d__input_width + d__pad_left,
    known[10] & ~depthwise & span + d__block_count > d__blocks,
    d__output_rows >= 1 << 17 | d__output_row_words >= 1 << 17
      | known[5] & (stored != output_words | d__output_row_bytes > row_room),
    known[4] & output_words > OUTPUT_WORDS,
    known[3] & pixels > HALF,
    known[2] & loaded != input_words,
    known[0] & row_words > ACTIVATION_WORDS
      | known[1] & input_words > ACTIVATION_WORDS,
    depthwise & (d__kernel_height > KERNEL | d__kernel_width > KERNEL | d__block_count != 1
      | d__block_step != 0 | d__column_tiles > (40'd0 | d__blocks) << part_bits
      | known[12] & reach_y + d__kernel_height > 65535
      | known[13] & reach_x + d__kernel_width > (DEPTHWISE_WIDTH < 65536 ? DEPTHWISE_WIDTH : 65535)),
    pixel_bits > pitch_bits,
    d__output_groups <= groups_before,
    groups > PARAMETER_GROUPS,
    d__tail > 1 << (ROW_BITS + channel_bits),
    ~all_counted,
    misplaced(d__output_address, ROW_BITS) | (d__output_row_stride & (1 << ROW_BITS) - 1) != 0,
    misplaced(d__parameters_address, 6),
    misplaced(d__weights_address, 6),
    misplaced(d__input_address, ROW_BITS) | (d__input_row_stride & (1 << ROW_BITS) - 1) != 0,
    ~width_built | d__raw == 3 | d__raw == 1 & wide_lane,
    ~signedness_built,
    ~built,
    d__kind > (KERNEL > 0),
    (given & RESERVED) != 0
  } : 23'd0;
  wire [22:0] rule_of_failed = 23'd1 << inside__failed - 1;

  wire [39:0] height = reach_y + d__kernel_height;
  wire [39:0] width = reach_x + d__kernel_width;
  wire [39:0] origin = -(pad_y + pad_x);
  wire [15:0] row_taps = KERNEL > 0 & width == 1 ? d__kernel_height : d__kernel_width;
  reg [7:0] told = 0;
  reg [22:0] breaks = 0;
  reg waits = 0;
  reg [TILE-1:0] shown = 0;
  always @(posedge clk) begin
    told <= state == TELL & ~clear ? inside__failed : 0;
    breaks <= broken_rules;
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  always @* begin
    // What the induction needs to know.
    assert (state <= TELL & step <= 14 & inside__failed <= 23);
    if (looked) assert ((state == TELL) == (step == 14));
    assert (state == TAKE | state == LOOK | (inside__failed != 0) == (broken_rules != 0));
    assert (~looked | inside__failed == 0 | (broken_rules & rule_of_failed) != 0);
    if (state == LOOK) assert (inside__failed == 0 & step == 0);
    if (looked) begin
      assert (inside__mode == (MODE_INDEX >> 3 * d__mode & 7) | ~built);
      assert (inside__groups == groups[15:0] | ~built);
      assert (inside__wide_rows == (d__output_row_bytes > row_room));
      assert (inside__last_tile == d__column_tiles - 16'd1);
      assert (inside__last_row == d__output_height - 16'd1);
      assert (inside__last_column == d__output_width_pixels - 16'd1);
    end
    if (known[0]) assert (inside__row_words == row_words[16:0] & row_words < 40'd1 << 34);
    if (known[1]) assert (inside__input_words == input_words[16:0] & input_words < 40'd1 << 34);
    if (known[2]) assert (inside__loaded == loaded[16:0] & loaded < 40'd1 << 34);
    if (known[3]) assert (inside__pixels == pixels[16:0] & pixels < 40'd1 << 34);
    if (known[4]) assert (inside__output_words == output_words[16:0] & output_words < 40'd1 << 34);
    if (known[5]) assert (inside__stored == stored[16:0] & stored < 40'd1 << 34);
    if (known[6]) assert (inside__step_x == step_x[16:0] & step_x < 40'd1 << 34);
    if (known[7]) assert (inside__step_y == step_y[16:0] & step_y < 40'd1 << 34);
    if (known[8]) assert (inside__pad_y == pad_y[16:0] & pad_y < 40'd1 << 34);
    if (known[9]) assert (inside__pad_x == pad_x[16:0] & pad_x < 40'd1 << 34);
    if (known[10]) assert (inside__span == span[16:0] & span < 40'd1 << 34);
    if (known[11]) assert (inside__taps == taps[16:0] & taps < 40'd1 << 34);
    if (known[12]) assert (inside__reach_y == reach_y[16:0] & reach_y < 40'd1 << 34);
    if (known[13]) assert (inside__reach_x == reach_x[16:0] & reach_x < 40'd1 << 34);
    // The multiplier is given the factors that the name says, unless it no longer matters.
    if (state == WAIT & inside__failed == 0)
      assert (inside__left == left & inside__right == right);

    // What is claimed.
    assert (i__ready == (state == TAKE));
    if (state == TELL) assert (o__valid == (broken_rules == 0));
    else assert (~o__valid);
    assert (broken == told);
    assert (told == 0 | (breaks & 23'd1 << told - 1) != 0);
    if (waits) assert (o__valid & o__payload == shown);
    if (o__valid) begin
      assert (o__payload__load__barrier == d__barrier);
      assert (o__payload__load__address == d__input_address);
      assert (o__payload__load__rows == d__input_rows);
      assert (o__payload__load__row_words == d__input_row_words);
      assert (o__payload__load__row_stride == d__input_row_stride);
      assert (o__payload__load__words == input_words & loaded == input_words);
      assert (o__payload__load__parameters == d__parameters_address);
      assert (o__payload__load__groups == groups);
      assert (o__payload__weights__address == d__weights_address);
      assert (o__payload__weights__taps == taps[15:0]);
      assert (o__payload__weights__blocks == (depthwise ? row_taps : d__block_count));
      assert (o__payload__weights__column_tiles == d__column_tiles);
      assert (o__payload__weights__depthwise == depthwise);
      assert (o__payload__walk__depthwise == depthwise);
      assert (o__payload__walk__input_height == d__input_height);
      assert (o__payload__walk__input_width == d__input_width);
      assert (o__payload__walk__row_words == row_words[15:0]);
      assert (o__payload__walk__blocks == d__blocks);
      assert (o__payload__walk__tail == d__tail);
      assert (o__payload__walk__kernel_height == d__kernel_height);
      assert (o__payload__walk__kernel_width == d__kernel_width);
      assert (o__payload__walk__pad_top == d__pad_top & o__payload__walk__pad_left == d__pad_left);
      assert (o__payload__walk__block_count == d__block_count);
      assert (o__payload__walk__block_step == d__block_step);
      assert (o__payload__walk__column_tiles == d__column_tiles);
      assert (o__payload__walk__origin == origin[15:0]);
      if (depthwise) begin
        assert (o__payload__walk__stride_y == 1 & o__payload__walk__stride_x == 1);
        assert (o__payload__walk__step_y == row_words[15:0]);
        assert (o__payload__walk__step_x == d__blocks);
        assert (o__payload__walk__height == height & o__payload__walk__width == width);
      end else begin
        assert (o__payload__walk__stride_y == d__stride_y & o__payload__walk__stride_x == d__stride_x);
        assert (o__payload__walk__step_y == step_y[15:0]);
        assert (o__payload__walk__step_x == step_x[15:0]);
        assert (o__payload__walk__height == d__output_height);
        assert (o__payload__walk__width == d__output_width_pixels);
      end
      assert (o__payload__drain__raw == d__raw & o__payload__drain__format__width == d__output_width);
      assert (o__payload__drain__single == depthwise & o__payload__drain__pixels == pixels);
      assert (o__payload__drain__column_tiles == d__column_tiles);
      assert (o__payload__drain__groups == d__output_groups);
      assert (o__payload__drain__pitch == d__output_pitch);
      assert (o__payload__drain__mode == o__payload__walk__mode);
      assert (o__payload__weights__mode == o__payload__walk__mode);
      assert (o__payload__walk__mode == (MODE_INDEX >> 3 * d__mode & 7));
      assert (o__payload__store__address == d__output_address);
      assert (o__payload__store__rows == d__output_rows & stored == output_words);
      assert (o__payload__store__row_bytes == d__output_row_bytes);
      assert (o__payload__store__row_stride == d__output_row_stride);
      assert (o__payload__store__row_words == d__output_row_words);
    end
  end
