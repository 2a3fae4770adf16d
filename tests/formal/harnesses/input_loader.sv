  // Words go into the bank of their tile one after the other, and are as many as the rectangle has;
  // so do parameters. Rows are asked for where the tile says. A tile begins when both its banks are
  // free, and with a barrier when all tiles before it are stored.
  localparam W = 28;

  (* anyseq *) reg [W-1:0] new_words;  // rows * row_words
  wire [W-1:0] new_groups = i__payload__groups;
  always @* if (i__valid) begin
    assume (i__payload__rows >= 1 & i__payload__row_words >= 1);
    assume (new_words >= i__payload__row_words & new_words <= ACTIVATION_WORDS);
    assume (i__payload__words == new_words);
    assume (new_groups >= 1 & new_groups <= PARAMETER_GROUPS);
  end

  wire accepts = i__valid & i__ready;
  wire asks = input_command__valid & input_command__ready;
  wire asks_parameters = parameter_command__valid & parameter_command__ready;
  wire came = inside__words__o__valid;
  reg busy = 0, asked_parameters = 0, bank = 0;
  reg [W-1:0] rest = 0, due = 0, written = 0, words = 0, groups = 0;
  reg [W-1:0] parameters_due = 0, parameters = 0;
  reg [39:0] address = 0;
  reg [W-1:0] rows_asked = 0;
  // Tiles begun less those whose input is used up, whose parameters are, which are stored.
  reg [2:0] inputs = 0, parameter_tiles = 0, unstored = 0;
  always @(posedge clk) begin
    if (asks) begin
      rest <= rest - inside__tile__row_words;
      address <= address + inside__tile__row_stride;
      rows_asked <= rows_asked + 1;
    end
    due <= due + (asks ? inside__tile__row_words : 0) - came;
    written <= written + write_enable;
    if (asks_parameters) asked_parameters <= 1;
    parameters_due <= parameters_due
      + (asks_parameters ? groups << COLUMN_BITS : 0) - parameter_data__valid;
    parameters <= parameters + parameter_data__valid;
    if (loaded) begin
      busy <= 0; bank <= ~bank;
    end
    if (accepts) begin
      busy <= 1; asked_parameters <= 0;
      rest <= new_words; words <= new_words; written <= 0; rows_asked <= 0;
      groups <= new_groups; parameters <= 0; address <= i__payload__address;
    end
    inputs <= inputs + accepts - bank_freed;
    parameter_tiles <= parameter_tiles + accepts - parameters_freed;
    unstored <= unstored + accepts - stored;
    if (clear) begin
      busy <= 0; bank <= 0; due <= 0; parameters_due <= 0; rest <= 0;
      inputs <= 0; parameter_tiles <= 0; unstored <= 0;
    end
  end
  always @* begin
    // No more comes than was asked for.
    assume (~came | (due > 0));
    assume (~parameter_data__valid | (parameters_due > 0));
    // A product of rows that remain.
    if (inside__rows_left == 0) assume (rest == 0);
    else assume (rest >= inside__tile__row_words);
    // Other parts tell of tiles that are complete; a tile whose parameters are used up has one of
    // two banks of the output memory until it is stored.
    assume (~bank_freed | (inputs > busy));
    assume (~parameters_freed | (parameter_tiles > busy));
    assume (~stored | (unstored > parameter_tiles));
    assume (~parameters_freed | (unstored < parameter_tiles + 2) | stored);
  end

  reg waits = 0, parameters_wait = 0;
  reg [63:0] shown = 0, parameters_shown = 0;
  always @(posedge clk) begin
    waits <= input_command__valid & ~input_command__ready & ~clear;
    shown <= input_command__payload;
    parameters_wait <= parameter_command__valid & ~parameter_command__ready & ~clear;
    parameters_shown <= parameter_command__payload;
  end
  wire [W-1:0] all_parameters = groups << COLUMN_BITS;
  always @* begin
    // What the induction needs to know.
    assert (inside__busy == busy & inside__bank == bank & inside__parameter_bank == bank);
    assert (inside__banks == 2 - inputs & inside__parameter_banks == 2 - parameter_tiles);
    assert (inside__under_way == unstored);
    assert (parameter_tiles <= unstored & unstored <= parameter_tiles + 2);
    assert (inputs <= 2 & parameter_tiles <= 2 & busy <= inputs & busy <= parameter_tiles);
    if (busy) begin
      assert (inside__words_left == rest + due & inside__words_left + written == words);
      assert (inside__tile__row_words >= 1);
      assert (rest <= words & due <= words & words <= ACTIVATION_WORDS);
      assert (written == ACTIVATION_WORDS | inside__word == written);
      assert (rows_asked + inside__rows_left == inside__tile__rows);
      assert (inside__address == address & inside__parameters_asked == asked_parameters);
      assert (parameters + inside__parameters_left == all_parameters);
      assert (inside__parameters_left
        == (asked_parameters ? parameters_due : all_parameters));
      assert (asked_parameters | parameters_due == 0);
      assert (groups >= 1 & groups <= PARAMETER_GROUPS & groups == inside__tile__groups);
      assert (parameters == all_parameters | {inside__group, inside__column} == parameters);
    end else assert (rest == 0 & due == 0 & parameters_due == 0 & inside__rows_left == 0);

    // What is claimed.
    if (write_enable) begin
      assert (busy & written < words & words <= ACTIVATION_WORDS);
      assert (write_address == (bank ? ACTIVATION_WORDS : 0) + written);
    end
    if (parameter_data__valid) begin
      assert (busy & parameters < all_parameters & groups <= PARAMETER_GROUPS);
      assert (parameter_enable == 1 << parameters[COLUMN_BITS-1:0]);
      assert (parameter_address
        == (bank ? PARAMETER_GROUPS : 0) + (parameters >> COLUMN_BITS));
    end
    if (loaded) assert (busy & written == words & parameters == all_parameters);
    if (accepts) begin
      assert (inputs < 2 & parameter_tiles < 2);
      assert (~i__payload__barrier | (unstored == 0));
    end
    if (input_command__valid) begin
      assert (busy & rows_asked < inside__tile__rows);
      assert (input_command__payload__address == address);
      assert (input_command__payload__bytes == inside__tile__row_words * ROWS);
    end
    if (parameter_command__valid) begin
      assert (busy & ~asked_parameters);
      assert (parameter_command__payload__address == inside__tile__parameters);
      assert (parameter_command__payload__bytes == groups * COLUMNS * 16);
    end
    if (waits) assert (input_command__valid & (input_command__payload == shown));
    if (parameters_wait)
      assert (parameter_command__valid & (parameter_command__payload == parameters_shown));
  end
