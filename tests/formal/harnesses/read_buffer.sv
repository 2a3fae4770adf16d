  // No beat finds the buffer full, and each beat that begins an element becomes one, in order: its
  // own bytes, and from the next beat those that it does not have.
  reg [9:0] due = 0;  // beats that bursts on their way have still to bring
  reg held = 0, p_last = 0;
  reg [127:0] p_data = 0;
  reg [3:0] p_start = 0;
  wire [3:0] start = inside__beats__r_data >> 128 << ALIGNMENT_BITS;
  wire last = inside__beats__r_data >> 132 - ALIGNMENT_BITS;
  wire extra = inside__beats__r_data >> 133 - ALIGNMENT_BITS;
  wire pops = inside__beats__r_rdy & inside__beats__r_en;
  wire gives = o__valid & o__ready;
  wire joins = held & (p_start != 0) & ~p_last;
  always @* begin
    assume (~reserve | fits);
    assume (~beat_valid | (due > 0));
  end
  always @(posedge clk) begin
    due <= due + (reserve ? length + 1 : 0) - beat_valid;
    if (gives) held <= 0;
    if (pops) begin
      held <= ~extra; p_data <= inside__beats__r_data; p_start <= start; p_last <= last;
    end
    if (clear) begin
      due <= 0; held <= 0;
    end
  end
  wire [9:0] stored = inside__beats__inner_level + inside__beats__r_rdy;
  reg waits = 0;
  reg [128:0] shown = 0;
  reg [127:0] joined;
  integer lane;
  always @(posedge clk) begin
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  always @* begin
    for (lane = 0; lane < 16; lane = lane + 1)
      joined[8 * lane +: 8] = joins & (lane >= 16 - p_start)
        ? inside__beats__r_data[8 * lane +: 8] : p_data[8 * lane +: 8];

    // What the induction needs to know.
    assert (inside__held == held & inside__room + due + stored == DEPTH);
    assert (due <= DEPTH & stored <= DEPTH & inside__beats__inner_level <= DEPTH);
    if (held) begin
      assert (inside__word == p_data & inside__last == p_last);
      assert (inside__partial == (p_start != 0 & ~p_last));
      for (lane = 0; lane < 16; lane = lane + 1)
        assert (inside__from_next[lane] == (~p_last & (lane + p_start >= 16)));
    end

    // What is claimed.
    if (beat_valid) assert (inside__beats__w_en & inside__beats__w_rdy);
    assert (inside__beats__w_data == beat);
    assert (o__valid == (held & (~joins | inside__beats__r_rdy)));
    assert (inside__beats__r_en == (~held | gives));
    if (o__valid) assert (o__payload == {joins ? extra : p_last, joined});
    if (waits) assert (o__valid & o__payload == shown);
  end
