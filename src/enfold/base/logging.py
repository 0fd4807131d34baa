"""One logger for the whole package: `ENFOLD_LOG=debug|info|warning|error` sets its level, default warning."""

import logging
import os


def get_logger(name: str = "enfold") -> logging.Logger:
    """The logger `name`, below the package's root logger, which is set up once."""
    root = logging.getLogger("enfold")
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        root.addHandler(handler)
        root.propagate = False
        root.setLevel(os.environ.get("ENFOLD_LOG", "warning").upper())
    return logging.getLogger(name)
