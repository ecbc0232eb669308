"""The producer: quotes from a feed into the stream, each symbol's in order."""
