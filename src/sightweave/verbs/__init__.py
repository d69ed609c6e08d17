"""What `sightweave.api` is made of: each file holds the verbs of one matter."""
