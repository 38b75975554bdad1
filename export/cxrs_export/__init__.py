"""Training, export and verification of COVID-Net CXR-S; needs the extra `export`."""
