"""Potentials: structures, labels from first principles, linear fits, validation."""
