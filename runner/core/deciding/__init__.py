"""The parts of `decide`: how one execution moves on."""
