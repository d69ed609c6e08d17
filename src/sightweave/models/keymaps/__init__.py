"""Names of other libraries' weights <-> ours: one small table a family."""
