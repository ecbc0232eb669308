"""What rules would have said of recorded ticks: the consumer's decoder and detector over files, without AWS."""
