  // What goes forth is what came a cycle before; what comes back comes at once.
  reg [7:0] before = 0;
  always @(posedge clk) before <= i__forth;
  always @* begin
    assert (o__forth == before);
    assert (i__back == o__back);
  end
