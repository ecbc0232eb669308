"""How fast the pieces are, beside what ordinary code does in the same run."""
