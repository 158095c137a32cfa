"""The same mathematics in a faster order.  Each kernel is checked against the plain computation that it replaces."""
