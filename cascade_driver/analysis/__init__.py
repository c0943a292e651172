"""Records to defect probability, stored-energy distribution and response."""
