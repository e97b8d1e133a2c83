"""How the console's tables came to be what they are: one file a change, in the order of their numbers."""
