"""What the broker answers itself: workloads' certificates, sessions, handles, and calls by `/execute`."""
