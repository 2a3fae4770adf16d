  // Parts become one wide word, the first lowest; it goes out when it is full, or with a part marked
  // last, each once; meanwhile nothing in it is lost.
  reg [15:0] place = 0;
  reg full = 0;
  reg [PARTS*PART-1:0] word = 0;
  reg [PARTS-1:0] counts = 0;  // parts that came for this word
  wire gives = o__valid & o__ready;
  wire takes = i__valid & i__ready;
  wire completes = in_last | (place == PARTS - 1);
  reg waits = 0;
  reg [PARTS*PART-1:0] shown = 0;
  integer i;
  always @(posedge clk) begin
    if (gives) begin
      full <= 0; counts <= 0;
    end
    if (takes) begin
      for (i = 0; i < PARTS; i = i + 1) if (i == place) word[PART * i +: PART] <= in_word;
      counts <= (gives | place == 0 ? 0 : counts) | 1 << place;
      place <= completes ? 0 : place + 1;
      full <= completes;
    end
    if (clear) begin
      place <= 0; full <= 0; counts <= 0;
    end
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
  end
  always @* begin
    // What the induction needs to know.
    assert (inside__position == place & place < PARTS & inside__full == full);
    assert (~full | place == 0);
    if (~full) assert (counts == (1 << place) - 1);
    for (i = 0; i < PARTS; i = i + 1)
      if (counts[i]) assert (o__payload[PART * i +: PART] == word[PART * i +: PART]);

    // What is claimed.
    assert (o__valid == full & i__ready == (~full | o__ready));
    if (o__valid) assert (counts[0] & (counts & counts + 1) == 0);
    if (waits) assert (o__valid & o__payload == shown);
  end
