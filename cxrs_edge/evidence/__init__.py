"""Why an X-ray got its level: critical factors, found on the evidence map and checked by removing them."""
