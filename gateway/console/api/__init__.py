"""The console's HTTP API: requests become contract models here and nowhere else."""
