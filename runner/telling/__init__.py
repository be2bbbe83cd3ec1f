"""What the outside is told of a request: which changes owe it, and the words for it, made when its turn comes."""
