"""A proxy that collects unreachable cycles on a signal.

Without it, its memory is a matter of chance. ``python -m tests.faults.tidy_proxy``
takes the options of ``python -m proxy``.
"""

import gc
import signal

from proxy.__main__ import main

if __name__ == "__main__":
    signal.signal(signal.SIGRTMIN, lambda *_: gc.collect())
    main()
