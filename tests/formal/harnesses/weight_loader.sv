  // Weights are asked for without gaps from where the tile says, once for each column tile, tap and
  // block, or at once where depthwise; what comes is put together into rows, as many as were asked
  // for, each byte at its column and lane; the next tile begins when all have come.
  wire [1:0] new_channel_bits = CHANNEL_BITS >> 2 * i__payload__mode;
  wire [1:0] channel_bits = CHANNEL_BITS >> 2 * inside__tile__mode;
  always @* if (i__valid) begin
    assume (i__payload__mode < MODES);
    assume (i__payload__taps >= 1 & i__payload__blocks >= 1 & i__payload__column_tiles >= 1);
    if (i__payload__depthwise) begin
      assume (i__payload__taps <= KERNEL * KERNEL & KERNEL > 0);
      assume (i__payload__column_tiles <= PARAMETER_GROUPS);
    end
  end

  localparam TAKE = 0, COUNT = 1, ASK = 2, RECEIVE = 3;
  wire accepts = i__valid & i__ready;
  wire asks = command__valid & command__ready;
  wire comes = inside__units__o__valid & inside__units__o__ready;
  wire [23:0] rows = depthwise ? all_rows : ROWS;
  wire [31:0] bytes = rows << COLUMN_BITS << channel_bits;
  wire depthwise = inside__tile__depthwise;
  wire last_block = block == inside__tile__blocks - 1, last_tap = tap == inside__tile__taps - 1;
  wire last_tile = column_tile == inside__tile__column_tiles - 1;
  wire last = depthwise | (last_block & last_tap & last_tile);
  reg busy = 0, asked_all = 0, full = 0;
  reg [15:0] block = 0, tap = 0, column_tile = 0;
  wire [23:0] all_rows = inside__tile__taps * inside__tile__column_tiles;
  reg [39:0] address = 0, due = 0, rows_due = 0;  // units and rows that are still to come
  reg [3:0] place = 0;
  reg [UNIT*WORD_BYTES-1:0] units = 0;
  reg waits = 0;
  reg [63:0] shown = 0;
  integer i, c, j, k;
  always @(posedge clk) begin
    if (asks) begin
      address <= address + bytes;
      if (last) asked_all <= 1;
      block <= last_block ? 0 : block + 1;
      if (last_block) tap <= last_tap ? 0 : tap + 1;
      if (last_block & last_tap) column_tile <= column_tile + 1;
    end
    due <= due + (asks ? {16'd0, rows} << channel_bits : 0) - comes;
    rows_due <= rows_due + (asks ? rows : 0) - inside__pushed;
    if (inside__pushed) full <= 0;
    if (comes) begin
      for (i = 0; i < WORD_BYTES; i = i + 1)
        if (i == place) units[UNIT * i +: UNIT] <= inside__units__o__payload;
      place <= place == (1 << channel_bits) - 1 ? 0 : place + 1;
      full <= place == (1 << channel_bits) - 1;
    end
    if (accepts) begin
      busy <= 1; asked_all <= 0; block <= 0; tap <= 0; column_tile <= 0;
      address <= i__payload__address;
    end else if (asked_all & rows_due == 0) busy <= 0;
    waits <= command__valid & ~command__ready & ~clear;
    shown <= command__payload;
    if (clear) begin
      busy <= 0; due <= 0; rows_due <= 0; full <= 0; place <= 0; asked_all <= 0;
    end
  end
  // No more comes than was asked for; a row is at least one.
  always @* begin
    assume (~inside__units__o__valid | (due > 0));
    assume (rows_due < 1 << 35);  // 2^35 rows of a cycle each are not under way
  end

  always @* begin
    // What the induction needs to know.
    assert (busy == (inside__fsm_state != TAKE));
    assert (asked_all == (inside__fsm_state == RECEIVE) | ~busy);
    assert (inside__rows_left == rows_due & rows_due < 1 << 36 & due < 1 << 39);
    assert (rows_due << channel_bits == due + place + (full ? 1 << channel_bits : 0));
    assert (inside__position == place & place < 1 << channel_bits & inside__full == full);
    assert (busy | rows_due == 0);
    assert (inside__tile__mode < MODES);
    if (busy) begin
      assert (inside__tile__blocks >= 1 & inside__tile__taps >= 1 & inside__tile__column_tiles >= 1);
      if (inside__fsm_state == ASK | inside__fsm_state == COUNT) begin
        assert (depthwise | inside__blocks_left + block == inside__tile__blocks);
        assert (depthwise | inside__taps_left + tap == inside__tile__taps);
        assert (depthwise | inside__column_tiles_left + column_tile == inside__tile__column_tiles);
        assert (~depthwise | inside__fsm_state == COUNT | inside__depthwise_rows == all_rows);
      end
      if (inside__fsm_state != RECEIVE) assert (block < inside__tile__blocks);
      if (inside__fsm_state != RECEIVE) assert (tap < inside__tile__taps);
      if (inside__fsm_state != RECEIVE) assert (column_tile < inside__tile__column_tiles);
      if (inside__fsm_state == COUNT) assert (block == 0 & tap == 0 & column_tile == 0 & rows_due == 0);
      assert (inside__address == address);
      assert (~depthwise | inside__tile__taps <= KERNEL * KERNEL & KERNEL > 0
        & inside__tile__column_tiles <= PARAMETER_GROUPS);
    end
    for (i = 0; i < WORD_BYTES; i = i + 1)
      if (i < (full ? 1 << channel_bits : place)) assert (inside__gathered[UNIT * i +: UNIT] == units[UNIT * i +: UNIT]);

    // What is claimed.
    if (command__valid) begin
      assert (busy & ~asked_all & command__payload__address == address);
      assert (command__payload__bytes == bytes);
    end
    if (waits) assert (command__valid & command__payload == shown);
    if (inside__pushed) begin
      assert (rows_due > 0 & full & inside__rows__w_en & inside__rows__w_rdy);
      assert (inside__row__mode == inside__tile__mode & inside__row__depthwise == depthwise);
      assert (inside__row__exponent_limit == inside__tile__exponent_limit);
      for (k = 0; 1 << k <= WORD_BYTES; k = k + 1) if (channel_bits == k)
        for (c = 0; c < COLUMNS; c = c + 1) for (j = 0; j < 1 << k; j = j + 1)
          assert (inside__row[8 * (WORD_BYTES * c + j) +: 8] == units[8 * ((c << k) + j) +: 8]);
    end
    assert (inside__rows__w_en == full & inside__rows__w_data == inside__row);
    if (i__ready) assert (~busy & rows_due == 0 & ~full);
  end
