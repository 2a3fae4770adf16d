  // Words are read from the bank of their tile at the places that it names, all of them within what
  // was drained; rows are written where it says, each once; the queue takes all that was read.
  localparam W = 28;

  (* anyseq *) reg [W-1:0] new_total;  // rows * row_words
  wire [W-1:0] new_bytes = i__payload__row_bytes;
  wire [W-1:0] new_row_words = i__payload__row_words;
  always @* if (i__valid) begin
    assume (i__payload__rows >= 1 & new_row_words >= 1 & new_bytes >= 1);
    assume (new_bytes <= new_row_words << COLUMN_BITS);
    assume (new_total >= new_row_words & new_total <= OUTPUT_WORDS);
  end

  wire accepts = i__valid & i__ready;
  wire asks = command__valid & command__ready;
  wire reads = inside__reads;
  reg busy = 0, bank = 0, reads_before = 0;
  reg [W-1:0] total = 0, rest = 0, row = 0, word = 0, rows_read = 0, rows_asked = 0, rows_due = 0;
  reg [39:0] address = 0;
  reg [1:0] full = 0;
  wire [W-1:0] rows = inside__tile__rows;
  wire [W-1:0] row_words = inside__tile__row_words;
  wire [W-1:0] row_bytes = inside__tile__row_bytes;
  wire [W-1:0] words = (row_bytes + (1 << COLUMN_BITS) - 1) >> COLUMN_BITS;
  wire last_word = word == words - 1;
  always @(posedge clk) begin
    if (reads) begin
      word <= last_word ? 0 : word + 1;
      if (last_word) begin
        row <= row + row_words; rest <= rest - row_words; rows_read <= rows_read + 1;
      end
    end
    if (asks) begin
      address <= address + inside__tile__row_stride; rows_asked <= rows_asked + 1;
    end
    rows_due <= rows_due + asks - written;
    if (stored) begin
      busy <= 0; bank <= ~bank;
    end
    if (accepts) begin
      busy <= 1; total <= new_total; rest <= new_total; row <= 0; word <= 0; rows_read <= 0;
      address <= i__payload__address; rows_asked <= 0;
    end
    reads_before <= reads & ~clear;
    full <= full + drained - accepts;
    if (clear) begin
      busy <= 0; bank <= 0; full <= 0; rows_due <= 0;
    end
  end
  always @* begin
    // A row is written once, after it was asked for and all its words were read.
    assume (~written | ((rows_due > 0) & (rows_read > rows_asked - rows_due)));
    assume (~drained | (full + busy < 2));
    if (rows_read == rows) assume (rest == 0);
    else assume (rest >= row_words);
  end

  reg waits = 0, data_waits = 0;
  reg [63:0] shown = 0;
  always @(posedge clk) begin
    waits <= command__valid & ~command__ready & ~clear;
    shown <= command__payload;
    data_waits <= data__valid & ~data__ready & ~clear;
  end
  wire [W-1:0] place = row + word;
  always @* begin
    // What the induction needs to know.
    assert (inside__busy == busy & inside__bank == bank & inside__full_banks == full);
    assert (full + busy <= 2 & inside__asked == reads_before);
    assert (inside__queue__level + inside__asked <= 4);
    if (busy) begin
      assert (words >= 1 & words <= row_words & row_words <= total & total <= OUTPUT_WORDS);
      assert (row_bytes >= 1 & row_bytes <= row_words << COLUMN_BITS);
      assert (inside__words_in_row == words & inside__words_left + word == words & word < words);
      assert (row + rest == total & row <= total);
      assert (inside__row_word == row[OUTPUT_BITS-1:0] & inside__word == place[OUTPUT_BITS-1:0]);
      assert (inside__rows_to_read + rows_read == rows & rows_read <= rows);
      assert (inside__rows_to_ask + rows_asked == rows & rows_asked <= rows);
      assert (inside__rows_to_finish == inside__rows_to_ask + rows_due & rows_due <= rows_asked);
      assert (inside__rows_to_finish >= 1 & inside__address == address);
    end else begin
      assert (inside__rows_to_read == 0 & inside__rows_to_ask == 0 & rows_due == 0);
    end

    // What is claimed.
    if (reads) begin
      assert (busy & place < total & total <= OUTPUT_WORDS);
      assert (read_address == (bank ? OUTPUT_WORDS : 0) + place);
    end
    if (inside__asked) assert (inside__queue__level < 4);
    if (command__valid) begin
      assert (busy & rows_asked < rows & command__payload__address == address);
      assert (command__payload__bytes == row_bytes);
    end
    if (stored) assert (busy & rows_asked == rows & rows_due == 1 & rows_read == rows);
    if (accepts) assert (full > 0 & ~busy);
    if (waits) assert (command__valid & (command__payload == shown));
  end
