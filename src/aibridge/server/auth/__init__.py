"""Who is asking: keys, and what they are made of."""
