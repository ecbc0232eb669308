"""Athena's tables and queries on real data, in the engine that Athena is made of: ``make test-athena``."""
