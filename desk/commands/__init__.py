"""The commands that ask, each with its settings."""
