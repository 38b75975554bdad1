"""``python -m cxrs_edge`` is ``cxrs-edge``."""

from cxrs_edge.cli import main

if __name__ == "__main__":
    main(prog_name="cxrs-edge")
