  // Each pixel's groups go to its words of the output memory and no further, blank ones included;
  // sums are taken out of the half that is complete, parameters out of those that were loaded. What
  // is written is what was asked for, in the tile's bank.
  localparam W = 24;

  // Of the tile offered: pixels * pitch.
  (* anyseq *) reg [W-1:0] new_total;
  wire [W-1:0] new_groups = i__payload__groups;
  wire [W-1:0] new_tiles = i__payload__column_tiles;
  wire [W-1:0] new_pixels = i__payload__pixels;
  wire [W-1:0] new_pitch = i__payload__pitch;
  wire [4:0] new_slot_bits = SLOT_BITS(i__payload__raw, i__payload__format__width);
  wire [1:0] new_lane_bits = i__payload__single ? 0 : LANE_BITS >> 2 * i__payload__mode;
  wire [1:0] lane_bits = inside__tile__single ? 0 : LANE_BITS >> 2 * inside__tile__mode;
  // log2 of the quarters of a word that a group fills.
  function [4:0] SLOT_BITS(input [1:0] raw, input [1:0] width);
    SLOT_BITS = raw == 1 ? 4 : raw == 2 ? 5 : width;
  endfunction
  always @* if (i__valid) begin
    assume (i__payload__mode < MODES & i__payload__raw < 3 & i__payload__format__width < 3);
    assume (new_groups >= 1 & new_tiles >= 1 & new_pixels >= 1 & new_pitch >= 1);
    assume (new_pixels <= HALF & new_total >= new_pitch & new_total <= OUTPUT_WORDS);
    assume (new_tiles << new_lane_bits <= PARAMETER_GROUPS);
    assume (new_groups > (new_tiles - 1) << new_lane_bits);
    assume (new_groups << new_slot_bits <= new_pitch << 2);
  end

  wire accepts = i__valid & i__ready;
  wire request = drain_valid;
  reg busy = 0, bank = 0, half = 0;
  reg [W-1:0] total = 0, pixel = 0, before = 0, rest = 0, groups_before = 0, inner = 0, lane = 0;
  reg [W-1:0] group = 0, tiles_done = 0;
  reg [2:0] part = 0;
  reg [1:0] summed_tiles = 0, output_tiles = 0;
  wire [W-1:0] groups = inside__tile__groups;
  wire [W-1:0] tiles = inside__tile__column_tiles;
  wire [W-1:0] pixels = inside__tile__pixels;
  wire [W-1:0] pitch = inside__tile__pitch;
  wire [4:0] slot_bits = SLOT_BITS(inside__tile__raw, inside__tile__format__width);
  wire [2:0] parts = inside__tile__raw == 0 ? 1 : inside__tile__raw == 1 ? 4 : 0;  // 8
  wire [2:0] last_part = parts - 1;
  wire [W-1:0] step = inside__tile__raw == 0 ? 1 << slot_bits : 4;
  wire [W-1:0] lanes = 1 << lane_bits;
  wire last_tile = tiles_done == tiles - 1;
  wire [W-1:0] lanes_now = last_tile ? groups - groups_before : lanes;
  wire [W-1:0] tile_start = groups_before << slot_bits;
  wire ends_lane = part == last_part;
  wire ends_pixel = ends_lane & (lane == lanes_now - 1);
  wire ends_tile = ends_pixel & (pixel == pixels - 1);
  always @(posedge clk) begin
    if (request) begin
      part <= ends_lane ? 0 : part + 1;
      inner <= inner + step;
      if (ends_lane) lane <= lane + 1;
      if (ends_pixel) begin
        lane <= 0; inner <= 0; pixel <= pixel + 1;
        before <= before + pitch; rest <= rest - pitch;
      end
      if (ends_tile) begin
        pixel <= 0; before <= 0; rest <= total - pitch; half <= ~half;
        groups_before <= groups_before + lanes_now; tiles_done <= tiles_done + 1;
      end
    end
    if (inside__reads_parameters) group <= group + 1;
    if (drained) begin
      busy <= 0; bank <= ~bank;
    end
    if (accepts) begin
      busy <= 1; total <= new_total; rest <= new_total - new_pitch; pixel <= 0; before <= 0;
      groups_before <= 0; inner <= 0; lane <= 0; part <= 0; group <= 0; tiles_done <= 0;
    end
    summed_tiles <= summed_tiles + summed - half_freed;
    output_tiles <= output_tiles + accepts - stored;
    if (clear) begin
      busy <= 0; bank <= 0; half <= 0; summed_tiles <= 0; output_tiles <= 0;
    end
  end
  always @* begin
    // Halves are given back before they are summed into again; banks are full before stored.
    assume (~summed | (summed_tiles < 2));
    assume (~stored | (output_tiles > busy));
    // A product of pixels that remain.
    if (pixel == pixels - 1) assume (rest == 0);
    else assume (rest >= pitch);
  end

  // What was asked for, on its way: as many cycles as codes take, or sums.
  wire [W-1:0] unit = (before << 2) + tile_start + inner;
  reg [CODES*W-1:0] units = 0;
  reg [CODES-1:0] asked = 0;
  wire [W-1:0] unit_now = units[(inside__tile__raw == 0 ? CODES - 1 : SUMS - 1) * W +: W];
  wire asked_now = asked[inside__tile__raw == 0 ? CODES - 1 : SUMS - 1];
  always @(posedge clk) begin
    units <= {units, unit};
    asked <= {asked, request};
    if (clear) asked <= 0;
  end
  wire [W-1:0] pixel_start = (before << 2) + tile_start;
  integer i;
  reg [W-1:0] arrivals;
  always @* begin
    arrivals = 0;
    for (i = 0; i < ARRIVAL; i = i + 1) arrivals = arrivals + inside__arriving[i];
  end

  localparam STAGE_BITS = UNIT_BITS + 5;  // with part and blank behind
  wire [CODES*STAGE_BITS-1:0] stages = {STAGES};

  localparam TAKE = 0, WAIT = 1, PARAMETERS = 2, DRAIN = 3, FLUSH = 4;
  wire [2:0] state = inside__fsm_state;
  wire holds = (state == PARAMETERS) | (state == DRAIN);
  always @* begin
    // What the induction needs to know.
    assert (state <= FLUSH & busy == (state != TAKE) & request == (state == DRAIN));
    assert (inside__bank == bank & inside__parameter_bank == bank & inside__half == half);
    assert (inside__banks == 2 - output_tiles & output_tiles <= 2 & busy <= output_tiles);
    assert (inside__column_tiles_ready + arrivals + holds == summed_tiles & summed_tiles <= 2);
    assert (inside__reads_parameters == (state == PARAMETERS));
    for (i = 1; i <= CODES; i = i + 1) begin
      assert (inside__valids[i] == asked[i - 1]);
      if (asked[i - 1]) begin
        assert (stages[(i - 1) * STAGE_BITS +: UNIT_BITS + 1]
          == {bank, units[(i - 1) * W +: UNIT_BITS]});
        assert (units[(i - 1) * W +: W] < OUTPUT_WORDS << 2);
        assert ((units[(i - 1) * W +: W] & (step - 1)) == 0);
      end
    end
    if (busy) begin
      assert (inside__tile__mode < MODES & inside__tile__raw < 3 & inside__tile__format__width < 3);
      assert (pixels <= HALF & pitch >= 1 & total <= OUTPUT_WORDS & pixels >= 1);
      assert (tiles << lane_bits <= PARAMETER_GROUPS & groups > (tiles - 1) << lane_bits);
      assert (groups << slot_bits <= pitch << 2);
      assert (pixel < pixels & before + pitch + rest == total & before <= total & rest <= total);
      if (state == FLUSH) assert (tiles_done == tiles & inside__wait <= CODES & tiles >= 1);
      else begin
        assert (tiles_done < tiles & inside__column_tiles_left + tiles_done == tiles);
        assert (groups_before == tiles_done << lane_bits);
        assert (inside__groups_left + groups_before == groups);
        assert (tile_start < OUTPUT_WORDS << 2 & inside__tile_unit == tile_start[UNIT_BITS-1:0]);
        if (state != DRAIN) assert (pixel == 0 & before == 0 & lane == 0 & part == 0 & inner == 0);
        if (state == WAIT) assert (group == tiles_done << lane_bits);
        if (state == PARAMETERS) begin
          assert (group == (tiles_done << lane_bits) + inside__fetched_lane);
          assert (inside__fetched_lane < lanes);
        end
        assert (group <= PARAMETER_GROUPS & inside__group == group[GROUP_BITS-1:0]);
        if (state == DRAIN) begin
          assert (group == (tiles_done + 1) << lane_bits);
          assert (inside__lane == lane & lane < lanes_now & inside__lane_end == lanes_now - 1);
          assert (inside__part == part & part <= last_part);
          assert (inner == (lane << slot_bits) + (part << 2));
          assert (inside__pixels_left + pixel == pixels);
          assert (drain_address == (half ? HALF : 0) + pixel);
          assert (inside__pixel_unit == pixel_start[UNIT_BITS-1:0]);
          assert (inside__unit == unit[UNIT_BITS-1:0]);
        end
      end
    end
    if (state == FLUSH) assert ((asked & ((1 << (CODES - inside__wait)) - 1)) == 0);
    if (~busy) assert (asked == 0);

    // What is claimed.
    if (request) begin
      assert (unit >= before << 2 & unit + step <= (before + pitch) << 2);
      assert (before + pitch <= total & total <= OUTPUT_WORDS);
      assert (summed_tiles > arrivals & drain_address == (half ? HALF : 0) + pixel);
      assert (pixel < pixels & pixels <= HALF);
    end
    if (inside__reads_parameters) begin
      assert (group < tiles << lane_bits & tiles << lane_bits <= PARAMETER_GROUPS);
      assert (parameter_address == (bank ? PARAMETER_GROUPS : 0) + group);
    end
    if (|write_enable) begin
      assert (asked_now & unit_now >> 2 < OUTPUT_WORDS);
      assert (write_enable == ((1 << step) - 1) << (unit_now & 3));
      assert (write_address == (bank ? OUTPUT_WORDS : 0) + (unit_now >> 2));
    end
    if (accepts) assert (output_tiles < 2);
    if (drained) assert (asked == 0);
  end
