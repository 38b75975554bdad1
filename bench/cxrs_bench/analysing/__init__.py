"""The stages of `cxrs-edge bench analyse`: each fills one section of a report of `cxrs-edge bench run`."""
