"""Medium -> values for an encoder: one file a modality."""
