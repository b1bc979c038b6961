"""Run machines on this Linux host: golden image in, SSH out. Knows nothing of Pulumi or of plans."""
