"""Medium -> values for an encoder: one file per modality."""
