"""What the producer and the consumer share, and nothing else."""
