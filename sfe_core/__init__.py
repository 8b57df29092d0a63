"""The work behind the `sfe` command: from a folder of face photographs to a measured checkpoint.

Nothing in this package prints, exits the process or knows of the command line. Long work reports
through a `Reporter`; mistakes and failures are `SfeError`s. The public names stand in __init__.pyi
and are described in docs/api.md; each brings its libraries when it is first asked for.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
