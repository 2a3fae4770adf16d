  // A tile goes into all five queues at once or into none, each part into its own; what waits in
  // front stays. (That queues keep order is proved of each.)
  wire takes = i__valid & i__ready;
  always @* begin
    assert (inside__load__w_en == takes & inside__weights__w_en == takes);
    assert (inside__walk__w_en == takes & inside__drain__w_en == takes);
    assert (inside__store__w_en == takes);
    if (takes) begin
      assert (inside__load__w_rdy & inside__weights__w_rdy & inside__walk__w_rdy);
      assert (inside__drain__w_rdy & inside__store__w_rdy);
      assert (inside__load__w_data == i__payload__load);
      assert (inside__weights__w_data == i__payload__weights);
      assert (inside__walk__w_data == i__payload__walk);
      assert (inside__drain__w_data == i__payload__drain);
      assert (inside__store__w_data == i__payload__store);
    end
    assert (load__valid == inside__load__r_rdy & load__payload == inside__load__r_data);
    assert (weights__valid == inside__weights__r_rdy & weights__payload == inside__weights__r_data);
    assert (walk__valid == inside__walk__r_rdy & walk__payload == inside__walk__r_data);
    assert (drain__valid == inside__drain__r_rdy & drain__payload == inside__drain__r_data);
    assert (store__valid == inside__store__r_rdy & store__payload == inside__store__r_data);
    assert (inside__load__r_en == load__ready & inside__weights__r_en == weights__ready);
    assert (inside__walk__r_en == walk__ready & inside__drain__r_en == drain__ready);
    assert (inside__store__r_en == store__ready);
  end
