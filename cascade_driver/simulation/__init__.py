"""One cascade: crystal, potential, thermalise, kick, follow, quench, record."""
