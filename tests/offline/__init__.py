"""The verifiers of the feed, in Python and on Node."""
