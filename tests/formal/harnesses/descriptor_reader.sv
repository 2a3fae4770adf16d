  // Descriptors are read one after the other from where the list is, as many as it has; each is put
  // together from its beats and checked once before its tile is handed on. The checker is cut out.
  localparam IDLE = 0, READ = 1, COLLECT = 2, CHECK = 3, HAND_ON = 4;
  reg [2:0] state = IDLE;
  reg [39:0] place = 0;
  reg [31:0] count = 0, at = 0;
  reg [1023:0] given = 0;
  reg [3:0] beats = 0;
  wire bad = (address[5:0] != 0) | (address >> 40 != 0) | (length == 0);
  wire is_last = given[25];
  wire misplaced = is_last != (at + 1 == count);
  always @* begin
    // A descriptor is eight beats.
    assume (~data__valid | data__payload__last == (beats == 7));
    assume (~(inside__check__o__valid & (inside__check__broken != 0)));
    assume (state == HAND_ON | inside__check__broken == 0);
  end
  wire hands = o__valid & o__ready;
  always @(posedge clk) begin
    case (state)
      IDLE: if (start & ~bad) begin
        state <= READ; place <= address; count <= length; at <= 0;
      end
      READ: if (command__ready) begin state <= COLLECT; beats <= 0; end
      COLLECT: if (data__valid) begin
        given <= {data__payload__data, given[1023:128]}; beats <= beats + 1;
        if (beats == 7) state <= CHECK;
      end
      CHECK: if (misplaced) state <= IDLE;
        else if (inside__check__i__ready) state <= HAND_ON;
      HAND_ON: if (inside__check__broken != 0) state <= IDLE;
        else if (hands) begin
          state <= is_last ? IDLE : READ; place <= place + 128; at <= at + 1;
        end
      default: ;
    endcase
    if (clear) state <= IDLE;
  end
  reg [7:0] error_now = 0, detail_now = 0;
  reg ended = 0;
  always @(posedge clk) begin
    error_now <= state == IDLE & start & bad ? 2 : state == CHECK & misplaced ? 2
      : state == HAND_ON & inside__check__broken != 0 ? 1 : 0;
    detail_now <= state == HAND_ON & inside__check__broken != 0 ? inside__check__broken : 0;
    if (state == IDLE & start) ended <= 0;
    if (state == HAND_ON & hands & inside__check__broken == 0 & is_last) ended <= 1;
    if (clear) begin
      error_now <= 0; detail_now <= 0; ended <= 0;
    end
  end
  always @* begin
    // What the induction needs to know.
    assert (inside__fsm_state == state & state <= HAND_ON & inside__given == given);
    if (state != IDLE) begin
      assert (inside__place == place & at < count & inside__remaining + at == count);
      assert (index == at & (state != COLLECT | beats < 8) & (state != HAND_ON | ~misplaced));
    end

    // What is claimed.
    assert (command__valid == (state == READ) & data__ready == (state == COLLECT));
    if (command__valid) assert (command__payload__address == place);
    assert (command__payload__bytes == 128);
    assert (inside__check__i__valid == (state == CHECK & ~misplaced));
    assert (inside__check__i__payload == given);
    assert (o__valid == inside__check__o__valid & o__payload == inside__check__o__payload);
    assert (error == error_now & detail == detail_now & finished == ended);
  end
