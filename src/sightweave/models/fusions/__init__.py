"""Where the image enters the text: one file per kind."""
