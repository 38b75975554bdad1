"""Does the evidence show what drives the decision? Measured by removal, side by side with other methods."""
