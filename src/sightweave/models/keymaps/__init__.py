"""Weight names of other libraries <-> ours: one small table per model family."""
