"""Many cascades: plan, claim, run anywhere, record on disk."""
