"""What the pipeline is put through: faults that AWS, the network and machines really have."""
