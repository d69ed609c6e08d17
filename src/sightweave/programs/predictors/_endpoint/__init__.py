"""What stands between `endpoint` and a server: the connection, what is asked, and how its words are read."""
