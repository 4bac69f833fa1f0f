"""Training recipes for weir's models. The product needs none of this: it loads what is exported here."""
