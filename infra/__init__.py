"""The hybrid platform: spec -> placement -> targets -> inventory, in that direction only."""
