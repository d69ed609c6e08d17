"""The embedded world: pictures drawn by our own code, with everything that can be said about them."""
