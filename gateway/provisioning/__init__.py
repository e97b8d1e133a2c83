"""How a cluster comes to be: plans made of named steps, written against ports only."""
