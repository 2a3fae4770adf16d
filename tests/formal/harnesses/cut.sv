  // A wide word goes out in parts, the lowest first, each once and none twice; it is taken with the
  // last of them that counts: a row's last word, or the last beat told.
  reg [15:0] row = 0, place = 0;
  wire gives = o__valid & o__ready;
  wire takes = i__valid & i__ready;
  wire ends_row = ROWS ? row + 1 == row_length : 0;
  wire [15:0] final_place = ROWS ? PARTS - 1 : in_last ? told : PARTS - 1;
  wire final_part = ends_row | (place == final_place);
  reg waits = 0, input_waits = 0;
  reg [PART-1:0] shown = 0;
  reg [PARTS*PART:0] input_shown = 0;
  reg [15:0] length_shown = 0;
  always @(posedge clk) begin
    if (gives) begin
      row <= ends_row ? 0 : row + 1;
      place <= final_part ? 0 : place + 1;
    end
    if (clear) begin
      row <= 0; place <= 0;
    end
    waits <= o__valid & ~o__ready & ~clear;
    shown <= o__payload;
    input_waits <= i__valid & ~i__ready & ~clear;
    input_shown <= {in_last, in_word};
    length_shown <= ROWS ? row_length : told;
  end
  wire [PART-1:0] part = in_word >> PART * place;
  always @* begin
    // Who sends a word keeps it there, and what is told of a row or a word stays as long.
    if (input_waits) assume (i__valid & {in_last, in_word} == input_shown);
    if (ROWS ? row != 0 : input_waits) assume ((ROWS ? row_length : told) == length_shown);
    assume (row_length >= 1 & told < PARTS);

    // What the induction needs to know.
    assert (inside__position == place & place < PARTS);
    if (ROWS) assert (inside__row_position == row & (row == 0 | row < length_shown));
    if (place != 0) assert (ROWS ? row != 0 : input_waits);
    if (~ROWS & place != 0) assert (place <= (input_shown[PARTS*PART] ? length_shown : PARTS - 1));

    // What is claimed.
    assert (o__valid == i__valid & i__ready == (o__ready & final_part));
    if (o__valid) assert (o__payload == part);
    if (waits) assert (o__valid & o__payload == shown);
  end
