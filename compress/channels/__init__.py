"""Which channels of a graph hang together, what each is worth, and the graph without some of them."""
