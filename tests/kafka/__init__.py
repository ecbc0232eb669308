"""A real Kafka broker for the tests."""
