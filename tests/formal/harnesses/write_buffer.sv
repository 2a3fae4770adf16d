  // Each byte goes to its place in its beat, in order; a burst is offered when all its beats are in
  // the buffer, and none is asked for that is not there.
  wire takes = i__valid & i__ready;
  wire pushes = inside__beats__w_en & inside__beats__w_rdy;
  wire gives = o__valid & o__ready;
  wire takes_burst = burst__valid & burst__ready;
  wire [3:0] start = burst__payload__start >> ALIGNMENT_BITS << ALIGNMENT_BITS;
  wire ends = index == burst__payload__length;
  wire no_data = ends & burst__payload__last & burst__payload__extra;
  reg [6:0] index = 0;
  reg [127:0] before = 0;
  reg known = 0;  // `before` is the element before, of the same transfer, which starts where it did
  reg [3:0] start_before = 0;
  reg [15:0] queued = 0, owed = 0, bursts = 0;  // beats of the bursts queued, and of those given out
  always @* begin
    assume (~next | (owed > 0));
    if (burst__valid & known) assume (burst__payload__start == start_before);
    // A sum of lengths, each at least 1, is no less than the first of them and 1 for each other.
    if (o__valid) assume (queued >= o__payload__length + bursts);
  end
  always @(posedge clk) begin
    if (takes) before <= i__payload;
    if (pushes) begin
      index <= ends ? 0 : index + 1;
      known <= ~(ends & burst__payload__last); start_before <= burst__payload__start;
    end
    queued <= queued + (takes_burst ? burst__payload__length + 1 : 0)
      - (gives ? o__payload__length + 1 : 0);
    bursts <= bursts + takes_burst - gives;
    owed <= owed + (gives ? o__payload__length + 1 : 0) - next;
    if (clear) begin
      index <= 0; queued <= 0; owed <= 0; known <= 0; bursts <= 0;
    end
  end
  // The source of bursts keeps to its protocol: one stays until it is taken.
  reg burst_waits = 0, waits = 0;
  reg [BURST-1:0] burst_shown = 0, shown = 0;
  always @(posedge clk) begin
    burst_waits <= burst__valid & ~burst__ready & ~clear;
    burst_shown <= burst__payload;
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  always @* if (burst_waits) assume (burst__valid & burst__payload == burst_shown);

  wire [15:0] stored = inside__beats__inner_level + inside__beats__r_rdy;
  wire [3:0] first_before = start_before >> ALIGNMENT_BITS << ALIGNMENT_BITS;
  // Byte n of a transfer goes to lane start + n, modulo 16.
  wire [127:0] placed = i__payload << 8 * start | i__payload >> 8 * (16 - start);
  wire [127:0] placed_before = before << 8 * first_before | before >> 8 * (16 - first_before);
  integer lane;
  always @* begin
    // What the induction needs to know.
    assert (inside__index == index & (index == 0 | burst_waits | clear | index <= 63));
    if (index != 0) assert (burst_waits & index <= burst_shown_length);
    assert (stored == queued + owed + index & stored <= DEPTH + 1);
    assert (queued <= DEPTH + 1 & owed <= DEPTH + 1);
    assert (queued >= bursts & bursts == inside__bursts__inner_level + inside__bursts__r_rdy);
    assert (inside__bursts__inner_level <= 32 & inside__beats__inner_level <= DEPTH);
    if (inside__bursts__r_rdy) assert (inside__beats__r_rdy);
    if (~inside__beats__r_rdy) assert (owed == 0);
    for (lane = 0; lane < 16; lane = lane + 1)
      if (known & (lane < first_before))
        assert (inside__before[8 * lane +: 8] == placed_before[8 * lane +: 8]);

    // What is claimed.
    if (pushes) for (lane = 0; lane < 16; lane = lane + 1) begin
      if (lane < start & known)
        assert (inside__beats__w_data[8 * lane +: 8] == placed_before[8 * lane +: 8]);
      if (lane >= start & ~no_data)
        assert (inside__beats__w_data[8 * lane +: 8] == placed[8 * lane +: 8]);
    end
    assert (takes == (pushes & ~no_data));
    assert (takes_burst == (pushes & ends) & inside__bursts__w_en == takes_burst);
    if (takes_burst) assert (inside__bursts__w_rdy & inside__bursts__w_data == burst__payload);
    if (o__valid) assert (stored >= owed + o__payload__length + 1);
    if (next) assert (inside__beats__r_rdy & beat == inside__beats__r_data);
    if (waits) assert (o__valid & o__payload == shown);
  end
  wire [6:0] burst_shown_length = burst_shown >> LENGTH_LOW & 63;
