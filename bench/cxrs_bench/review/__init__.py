"""What readers entered in a booklet, and how far they agree with each other and with the network."""
