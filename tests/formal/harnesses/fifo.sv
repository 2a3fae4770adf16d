  // A queue: what goes in comes out unchanged and in order, nothing else does, and it never takes
  // more than it has places for. One element is followed: which one, the solver may choose.
  (* anyseq *) reg chosen;
  wire push = inside__w_en & inside__w_rdy;
  wire pop = inside__r_en & inside__r_rdy;

  reg [15:0] count = 0;
  reg followed = 0;
  reg [15:0] ahead = 0;
  reg [WIDTH-1:0] value = 0;
  reg waiting = 0;
  reg hidden = 0;
  wire follow = push & chosen & ~followed & (inside__produce == inside__tap_address);
  always @(posedge clk) begin
    count <= count + push - pop;
    if (follow) begin
      followed <= 1;
      ahead <= count - pop;
      value <= inside__w_data;
    end else if (pop) begin
      ahead <= ahead - 1;
      if (ahead == 0) followed <= 0;
    end
    waiting <= inside__r_rdy & ~inside__r_en;
    hidden <= (count != 0) & ~inside__r_rdy;
    if (clear) begin
      count <= 0;
      followed <= 0;
      waiting <= 0;
      hidden <= 0;
    end
  end

  // Where things are inside: what the induction needs to know.
  wire [15:0] words = BUFFERED ? count - inside__r_rdy : count;
  wire [15:0] place = BUFFERED ? ahead - inside__r_rdy : ahead;
  wire in_front = BUFFERED & inside__r_rdy & (ahead == 0);
  wire [15:0] produced = inside__consume + words;
  wire [15:0] placed = inside__consume + place;
  always @* begin
    assert (inside__stored == words);
    assert (words <= WORDS);
    assert (inside__produce < WORDS);
    assert (inside__consume < WORDS);
    assert (inside__produce == (produced < WORDS ? produced : produced - WORDS));
    if (followed & ~in_front) begin
      assert (inside__tap_address == (placed < WORDS ? placed : placed - WORDS));
      assert (inside__tap == value);
    end

    assert (count <= WORDS + BUFFERED);
    assert (~(inside__r_rdy & (count == 0)));
    if (hidden) assert (inside__r_rdy);
    if (count < WORDS) assert (inside__w_rdy);
    if (followed) assert (ahead < count);
    if (followed & (ahead == 0) & inside__r_rdy) assert (inside__r_data == value);
    if (waiting) assert (inside__r_rdy);
  end
