"""Where the image enters the text: one file a kind."""
