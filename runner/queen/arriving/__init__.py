"""How a request comes to be: from a push, the clock, another job or a person, until it waits for its turn."""
