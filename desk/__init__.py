"""What people look and ask with: they read what the pipeline has written, and write nothing themselves."""
