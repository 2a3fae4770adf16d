  // Passes come in the order of the definition, every one once, and each begins at the word that
  // the definition names: row (ky - pad_top), column (kx - pad_left) and word t * block_step + kb
  // of the pixel; depthwise, t / parts. Those words lie in the pixel.
  //
  // Products and sums are followed by what they grow by, from one tile, row, column or block to the
  // next: origin + t * block_step + ky * line + kx * blocks + kb, modulo 2^16.
  localparam W = 20;

  // Of the tile offered: words of a row, (tiles - 1) * step.
  (* anyseq *) reg signed [W-1:0] new_line, new_span;
  wire signed [W-1:0] new_blocks = i__payload__blocks;
  wire signed [W-1:0] new_tiles = i__payload__column_tiles;
  wire [3:0] new_part_bits = PART_BITS >> 4 * i__payload__mode;
  wire [3:0] part_bits = PART_BITS >> 4 * inside__walk__mode;
  always @* if (i__valid) begin
    assume (i__payload__mode < MODES);
    assume (i__payload__kernel_height >= 1 & i__payload__kernel_width >= 1);
    assume (i__payload__block_count >= 1 & new_tiles >= 1 & new_blocks >= 1);
    assume (new_line >= new_blocks & new_line <= 65536);
    assume (i__payload__row_words == new_line[15:0]);
    if (i__payload__depthwise) assume (new_tiles <= new_blocks << new_part_bits);
    else assume (new_span >= 0 & new_span + i__payload__block_count <= new_blocks);
  end

  // The pass to come, and the one offered.
  reg busy = 0;
  reg signed [W-1:0] line = 0, rest = 0, span = 0;
  reg signed [W-1:0] tile = 0, ky = 0, kx = 0, kb = 0, first_word = 0;
  reg [15:0] at_tile = 0, at_row = 0, at_column = 0;
  reg [WALK-1:0] walk = 0;
  reg signed [W-1:0] o_offset = 0, o_row = 0, o_column = 0;
  reg [15:0] o_address = 0;
  reg [WALK-1:0] o_walk = 0;
  reg o_begin = 0, o_end = 0, o_first = 0, o_last = 0, o_tail = 0;
  wire depthwise = inside__walk__depthwise;
  wire signed [W-1:0] blocks = inside__walk__blocks;
  wire signed [W-1:0] part = tile & ((1 << part_bits) - 1);
  wire signed [W-1:0] offset = depthwise ? tile >> part_bits : first_word + kb;
  wire last_kb = depthwise | (kb == inside__walk__block_count - 1);
  wire last_kx = depthwise | (kx == inside__walk__kernel_width - 1);
  wire last_ky = depthwise | (ky == inside__walk__kernel_height - 1);
  wire last_tile = tile == inside__walk__column_tiles - 1;
  wire first_tap = (kb == 0) & (kx == 0) & (ky == 0);
  wire step = busy & (~o__valid | o__ready);
  // Depthwise: the groups of a word one after the other, then the next word.
  wire [15:0] advance = ~depthwise ? inside__walk__block_step : part == (1 << part_bits) - 1;
  wire accepts = i__valid & i__ready;
  always @(posedge clk) begin
    if (step) begin
      o_row <= ky - inside__walk__pad_top; o_column <= kx - inside__walk__pad_left;
      o_address <= at_column + kb; o_offset <= offset;
      o_walk <= walk;
      o_begin <= first_tap & (tile == 0); o_first <= first_tap;
      o_last <= last_kb & last_kx & last_ky; o_end <= last_kb & last_kx & last_ky & last_tile;
      o_tail <= offset == blocks - 1;
      if (~last_kb) kb <= kb + 1;
      else begin
        kb <= 0;
        if (~last_kx) begin
          kx <= kx + 1; at_column <= at_column + blocks;
        end else begin
          kx <= 0;
          if (~last_ky) begin
            ky <= ky + 1; at_row <= at_row + line; at_column <= at_row + line;
          end else begin
            ky <= 0;
            tile <= tile + 1;
            at_tile <= at_tile + advance; at_row <= at_tile + advance;
            at_column <= at_tile + advance;
            first_word <= first_word + inside__walk__block_step;
            rest <= rest - inside__walk__block_step;
            if (last_tile) busy <= 0;
          end
        end
      end
    end
    if (accepts) begin
      busy <= 1; walk <= i__payload;
      line <= new_line; rest <= new_span; span <= new_span;
      tile <= 0; ky <= 0; kx <= 0; kb <= 0; first_word <= 0;
      at_tile <= i__payload__origin; at_row <= i__payload__origin; at_column <= i__payload__origin;
    end
    if (clear) busy <= 0;
  end

  // True of products.
  always @* if (busy & ~depthwise) begin
    if (last_tile) assume (rest == 0);
    else assume (rest >= inside__walk__block_step);
  end

  reg waiting = 0;
  reg [PASS-1:0] shown = 0;
  always @(posedge clk) begin
    waiting <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  always @* begin
    // What the induction needs to know.
    assert (i__ready == ~busy);
    if (busy) begin
      assert (inside__walk == walk & inside__walk__mode < MODES);
      assert (inside__block == kb & kb >= 0 & kb < inside__walk__block_count);
      assert (inside__tap_x == kx & kx >= 0 & kx < inside__walk__kernel_width);
      assert (inside__tap_y == ky & ky >= 0 & ky < inside__walk__kernel_height);
      assert (inside__column_tile == tile & tile >= 0 & tile < inside__walk__column_tiles);
      assert (inside__walk__row_words == line[15:0] & line >= blocks & line <= 65536);
      assert (inside__tile_address == at_tile & inside__row_address == at_row);
      assert (inside__tap_address == at_column);
      if (depthwise) begin
        assert (kb == 0 & kx == 0 & ky == 0);
        assert (inside__part == part & inside__tile_block == tile >> part_bits);
        assert (inside__walk__column_tiles <= blocks << part_bits);
      end else begin
        assert (inside__tile_block == first_word[15:0]);
        assert (first_word >= 0 & rest >= 0 & first_word + rest == span);
        assert (span >= 0 & rest <= span & span <= 65535);
        assert (span + inside__walk__block_count <= blocks);
      end
    end

    // What is claimed.
    if (o__valid) begin
      assert (o__payload__address == o_address);
      assert (o__payload__row == o_row[17:0] & o_row >= -255 & o_row <= 255);
      assert (o__payload__column == o_column[17:0] & o_column >= -255 & o_column <= 255);
      assert (o_offset >= 0 & o_offset < o__payload__walk__blocks);
      assert (o__payload__walk == o_walk);
      assert (o__payload__begin == o_begin & o__payload__end == o_end);
      assert (o__payload__walk__depthwise
        | (o__payload__first == o_first & o__payload__last == o_last));
      assert (~o__payload__walk__depthwise | (o__payload__first & o__payload__last));
      assert (o__payload__tail == o_tail);
    end
    if (waiting) assert (o__valid & (o__payload == shown));
  end
