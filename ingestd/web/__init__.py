"""HTTP: health and metrics for the machines that watch this one."""
