"""How long inference takes on this machine. Empty, because the measured process imports what it measures itself."""
