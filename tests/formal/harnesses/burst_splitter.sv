  // Each command becomes bursts that follow each other without a gap, from its first byte to its
  // last, none of them across the end of a block of 64 beats (so none across 4 KiB), in the order
  // of the commands.
  localparam W = 42;
  function [W-1:0] last_byte(input [39:0] address, input [23:0] bytes);
    last_byte = {2'd0, address} + bytes - 1;
  endfunction
  function more_beats(input [39:0] address, input [23:0] bytes);
    reg [24:0] touched, filled;
    begin
      touched = ({1'b0, bytes} + address[3:0] + 15) >> 4;
      filled = ({1'b0, bytes} + 15) >> 4;
      more_beats = touched != filled;
    end
  endfunction
  always @* if (i__valid) assume (i__payload__bytes >= 1);

  // The command taken last, and the one whose bursts come; the beat that is next.
  reg waiting_valid = 0, valid = 0, first = 0, extra = 0, waiting_extra = 0;
  reg [39:0] waiting_address = 0, address = 0;
  reg [W-1:0] waiting_last = 0, last = 0;
  reg [35:0] beat = 0;
  wire takes = i__valid & i__ready;
  wire gives = o__valid & o__ready;
  wire ends = gives & o__payload__last;
  wire moves = waiting_valid & (~valid | ends);
  always @(posedge clk) begin
    if (gives) begin
      beat <= beat + o__payload__length + 1; first <= 0;
    end
    if (ends) valid <= 0;
    if (moves) begin
      valid <= 1; first <= 1; address <= waiting_address; last <= waiting_last;
      extra <= waiting_extra; beat <= waiting_address[39:4]; waiting_valid <= 0;
    end
    if (takes) begin
      waiting_valid <= 1; waiting_address <= i__payload__address;
      waiting_last <= last_byte(i__payload__address, i__payload__bytes);
      waiting_extra <= more_beats(i__payload__address, i__payload__bytes);
    end
    if (clear) begin
      waiting_valid <= 0; valid <= 0;
    end
  end

  reg waits = 0;
  reg [BURST-1:0] shown = 0;
  always @(posedge clk) begin
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  wire [W-5:0] end_beat = {6'd0, beat} + o__payload__length;
  wire [29:0] blocks_waiting = waiting_last[39:10] - waiting_address[39:10];
  wire [29:0] blocks = last[39:10] - beat[35:6];
  always @* begin
    // What the induction needs to know.
    assert (inside__ended_valid == waiting_valid & o__valid == valid);
    if (waiting_valid) begin
      assert (inside__ended__beat == waiting_address[39:4]);
      assert (inside__ended__start == waiting_address[3:0]);
      assert ({inside__ended__last_index, inside__ended__end} == waiting_last[9:0]);
      assert (inside__ended__blocks_less_1 == blocks_waiting & blocks_waiting < 1 << 15);
      assert (inside__ended__extra == waiting_extra);
      assert (blocks_waiting > 0 | waiting_last[9:4] >= waiting_address[9:4]);
    end
    if (valid) begin
      assert (inside__split__last_index == last[9:4] & inside__split__end == last[3:0]);
      assert (inside__split__blocks_less_1 == blocks & blocks < 1 << 15);
      assert (first | beat[5:0] == 0);
      assert (blocks > 0 | last[9:4] >= beat[5:0]);
    end

    // What is claimed.
    assert (i__ready | waiting_valid | clear);
    if (o__valid) begin
      assert (valid & o__payload__beat == beat & o__payload__first == first);
      assert (beat[5:0] + o__payload__length <= 63);
      assert (o__payload__start == address[3:0] & o__payload__end == last[3:0]);
      assert (o__payload__last == (blocks == 0) & o__payload__extra == extra);
      if (o__payload__last) assert (end_beat[35:0] == last[39:4]);
      else assert (beat[5:0] + o__payload__length == 63);
    end
    if (waits) assert (o__valid & o__payload == shown);
    if (first & valid) assert (beat == address[39:4]);
  end
