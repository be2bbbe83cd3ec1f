"""The go dialect: the subset of Go's text/template that existing definitions use, made into the same closures."""
