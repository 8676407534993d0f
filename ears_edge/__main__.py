"""`python -m ears_edge` is `ears-edge`."""

import sys

from ears_edge.cli import main

sys.exit(main())
