"""Whether the parts of a composition are wired right: one file for each thing that can be wrong."""
