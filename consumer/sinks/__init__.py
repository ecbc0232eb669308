"""Where processed ticks go. Every sink is idempotent: the same input twice leaves the same rows, objects and ids."""
