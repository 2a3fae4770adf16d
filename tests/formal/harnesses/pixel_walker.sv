  // Every word asked for lies in the input rectangle, at the pixel and word that the definition
  // names, or is not kept; sums go into the half of the accumulators that the pass was given.
  //
  // Products are followed by what they grow by. What is assumed of them is true of any product:
  // a * b for 0 <= a < n lies in 0 .. n * b - b, and is 0 for a = 0, b or more for a >= 1.
  localparam W = 48;

  // The pass offered: its row * row_words, column * blocks and the word of the pixel it begins at;
  // (height - 1) * stride_y, (width - 1) * stride_x, (height - 1) * width.
  (* anyseq *) reg signed [W-1:0] new_row_words;
  (* anyseq *) reg signed [W-1:0] new_column_words;
  (* anyseq *) reg signed [W-1:0] new_offset;
  (* anyseq *) reg signed [W-1:0] new_below;
  (* anyseq *) reg signed [W-1:0] new_right;
  (* anyseq *) reg signed [W-1:0] new_pixels;
  // Words of a row, of the rectangle; stride_y * row_words, stride_x * blocks.
  (* anyseq *) reg signed [W-1:0] new_line;
  (* anyseq *) reg signed [W-1:0] new_words;
  (* anyseq *) reg signed [W-1:0] new_step_y;
  (* anyseq *) reg signed [W-1:0] new_step_x;

  wire signed [W-1:0] new_row = $signed(i__payload__row);
  wire signed [W-1:0] new_column = $signed(i__payload__column);
  wire signed [W-1:0] new_height = i__payload__walk__height;
  wire signed [W-1:0] new_width = i__payload__walk__width;
  wire signed [W-1:0] new_stride_y = i__payload__walk__stride_y;
  wire signed [W-1:0] new_stride_x = i__payload__walk__stride_x;
  wire signed [W-1:0] new_blocks = i__payload__walk__blocks;
  wire signed [W-1:0] new_input_height = i__payload__walk__input_height;
  wire signed [W-1:0] new_input_width = i__payload__walk__input_width;
  wire signed [W-1:0] new_address = new_row_words + new_column_words + new_offset;
  always @* if (i__valid) begin
    // A legal tile.
    assume (new_words <= ACTIVATION_WORDS & new_line >= new_blocks & new_words >= new_line);
    assume (new_blocks >= 1 & new_input_height >= 1 & new_input_width >= 1);
    assume (new_height >= 1 & new_width >= 1 & new_stride_y >= 1 & new_stride_x >= 1);
    assume (new_below >= 0 & new_below <= new_input_height + 510);
    assume (new_right >= 0 & new_right <= new_input_width + 510);
    assume (new_pixels >= 0 & new_pixels < 1 << 32);
    assume (i__payload__walk__depthwise | (new_pixels + new_width <= HALF));
    // What the steps are: products, of which the design keeps what an address has.
    assume (new_step_y >= new_line & new_step_y < 1 << 25);
    assume (new_step_x >= new_blocks & new_step_x < 1 << 25);
    assume (i__payload__walk__step_y == new_step_y[15:0]);
    assume (i__payload__walk__step_x == new_step_x[15:0]);
    // A pass of that tile, as the pass generator makes it.
    assume (new_row >= -255 & new_row <= 255 & new_column >= -255 & new_column <= 255);
    assume (new_row_words > -(1 << 40) & new_row_words < 1 << 40);
    assume (new_column_words > -(1 << 40) & new_column_words < 1 << 40);
    assume (new_offset >= 0 & new_offset < new_blocks);
    assume (i__payload__address == new_address[15:0]);
  end

  // The pass at hand.
  wire active = issues | unit_issues;
  reg signed [W-1:0] row = 0, column = 0, row_words = 0, column_words = 0, offset = 0;
  reg signed [W-1:0] first_column = 0, first_words = 0, below = 0, right = 0, pixels = 0;
  reg signed [W-1:0] bottom = 0, edge_ = 0, most_right = 0, all = 0, done = 0;
  reg signed [W-1:0] line = 0, words = 0, step_y = 0, step_x = 0;
  reg signed [W-1:0] rows_left = 0, columns_left = 0;
  wire signed [W-1:0] width = inside__current__walk__width;
  wire signed [W-1:0] stride_y = inside__current__walk__stride_y;
  wire signed [W-1:0] stride_x = inside__current__walk__stride_x;
  wire signed [W-1:0] blocks = inside__current__walk__blocks;
  wire signed [W-1:0] input_height = inside__current__walk__input_height;
  wire signed [W-1:0] input_width = inside__current__walk__input_width;
  wire depthwise = inside__current__walk__depthwise;
  wire ends_tile = inside__current__end;
  wire ends_half = inside__current__last;
  wire begins = i__valid & i__ready;
  wire last_column = columns_left == 1;
  wire ends = active & last_column & (rows_left == 1);
  always @(posedge clk) if (begins) begin
    row <= new_row; column <= new_column; first_column <= new_column;
    row_words <= new_row_words; column_words <= new_column_words; first_words <= new_column_words;
    offset <= new_offset; below <= new_below; right <= new_right; most_right <= new_right;
    pixels <= new_pixels; all <= new_pixels + new_width; done <= 0;
    bottom <= new_row + new_below; edge_ <= new_column + new_right;
    line <= new_line; words <= new_words; step_y <= new_step_y; step_x <= new_step_x;
    rows_left <= new_height; columns_left <= new_width;
  end else if (active) begin
    done <= done + 1;
    if (last_column) begin
      row <= row + stride_y; row_words <= row_words + step_y; below <= below - stride_y;
      column <= first_column; column_words <= first_words; right <= most_right;
      rows_left <= rows_left - 1; columns_left <= width; pixels <= pixels - width;
    end else begin
      column <= column + stride_x; column_words <= column_words + step_x;
      right <= right - stride_x; columns_left <= columns_left - 1;
    end
  end

  // True of products.
  always @* if (active) begin
    if (row >= 0 & row < input_height) assume (row_words >= 0 & row_words <= words - line);
    if (column >= 0 & column < input_width)
      assume (column_words >= 0 & column_words <= line - blocks);
    if (rows_left == 1) assume (below == 0 & pixels == 0);
    else assume (below >= stride_y & pixels >= width);
    if (columns_left == 1) assume (right == 0);
    else assume (right >= stride_x);
  end

  // Tiles and halves in turn: how many have begun, and what has been said of them.
  reg [1:0] loaded_tiles = 0, halves_taken = 0;
  reg bank = 0, half = 0;
  always @* begin
    assume (~loaded | (loaded_tiles < 2));
    assume (~half_freed | (halves_taken > 0));
  end
  wire takes_half = begins & i__payload__first;
  wire takes_tile = begins & i__payload__begin;
  always @(posedge clk) begin
    loaded_tiles <= loaded_tiles + loaded - takes_tile;
    halves_taken <= halves_taken + takes_half - half_freed;
    if (ends) begin
      bank <= bank ^ ends_tile;
      half <= half ^ ends_half;
    end
    if (clear) begin
      loaded_tiles <= 0; halves_taken <= 0; bank <= 0; half <= 0;
    end
  end

  wire signed [W-1:0] word = row_words + column_words + offset;
  wire is_inside = row >= 0 & row < input_height & column >= 0 & column < input_width;
  wire signed [W-1:0] first_sum = row_words + first_words + offset;
  // With the vector, two cycles later: what was asked for, and what should have been.
  reg [W-1:0] asked_1 = 0, asked_2 = 0, should_1 = 0, should_2 = 0;
  reg [W-1:0] first_1 = 0, first_2 = 0, end_1 = 0, end_2 = 0, sum_1 = 0, sum_2 = 0;
  reg inside_1 = 0, inside_2 = 0, active_1 = 0, active_2 = 0, array_1 = 0, array_2 = 0;
  wire [W-1:0] first = bank ? ACTIVATION_WORDS : 0;
  wire [W-1:0] sum = (half ? HALF : 0) + done;
  always @(posedge clk) begin
    asked_1 <= read_address; should_1 <= first + word; first_1 <= first; end_1 <= first + words;
    inside_1 <= is_inside; active_1 <= active; array_1 <= active & ~depthwise; sum_1 <= sum;
    asked_2 <= asked_1; should_2 <= should_1; first_2 <= first_1; end_2 <= end_1;
    inside_2 <= inside_1; active_2 <= active_1; array_2 <= array_1; sum_2 <= sum_1;
  end

  always @* begin
    // What the induction needs to know.
    assert (inside__bank == bank & inside__half == half);
    assert (inside__tiles == loaded_tiles & loaded_tiles <= 2);
    assert (inside__halves == 2 - halves_taken & halves_taken <= 2);
    if (active) begin
      assert (inside__row == row[17:0] & inside__column == column[17:0]);
      assert (row > -(1 << 17) & row < 1 << 17 & column > -(1 << 17) & column < 1 << 17);
      assert (row >= -255 & column >= -255 & stride_y >= 1 & stride_x >= 1);
      assert (below >= 0 & below < 1 << 17 & right >= 0 & right <= most_right);
      assert (most_right < 1 << 17);
      assert (row + below == bottom & bottom <= input_height + 765);
      assert (column + right == edge_ & edge_ <= input_width + 765);
      assert (first_column + most_right == edge_ & first_column >= -255);
      assert (inside__rows_left == rows_left & inside__columns_left == columns_left);
      assert (rows_left >= 1 & columns_left >= 1 & columns_left <= width);
      assert (done + pixels + columns_left == all & done >= 0 & pixels >= 0);
      assert (done < all & all < 1 << 33 & pixels < all & (depthwise | all <= HALF));
      assert (inside__word == word[15:0]);
      assert (inside__row_word == first_sum[15:0]);
      assert (offset >= 0 & offset < blocks & blocks <= line & line <= words);
      assert (words <= ACTIVATION_WORDS & depthwise == unit_issues);
      assert (inside__current__walk__step_y == step_y[15:0] & step_y >= 0 & step_y < 1 << 25);
      assert (inside__current__walk__step_x == step_x[15:0] & step_x >= 0 & step_x < 1 << 25);
      assert (inside__current__column == first_column[17:0] & first_column <= 255);
      assert (depthwise | inside__accumulator == sum);
    end
    if (inside__valid[0] | inside__unit_valid[0]) assert (active_1);
    if (inside__valid[0]) assert (array_1);
    if (inside__valid[1]) assert (array_2);
    if (active_1 & |inside__asked__keep) assert (inside_1);
    if (active_1 & inside_1)
      assert (asked_1 == should_1 & first_1 <= asked_1 & asked_1 < end_1);
    if (array_1) assert (inside__asked__address == sum_1);
    if (active_1) assert ((first_1 == 0 | first_1 == ACTIVATION_WORDS) & end_1 <= first_1 + ACTIVATION_WORDS);

    // What is claimed.
    if (vector__valid | vector__unit_valid) begin
      assert (active_2);
      if (|vector__keep) begin
        assert (asked_2 == should_2);
        assert (first_2 <= asked_2 & asked_2 < end_2 & end_2 <= first_2 + ACTIVATION_WORDS);
      end
    end
    if (vector__valid) assert (vector__address == sum_2);
    if (takes_tile) assert (loaded_tiles > 0);
    if (takes_half) assert (halves_taken < 2);
  end
