"""Images and what is done to one: decode, bring to size, encode."""
