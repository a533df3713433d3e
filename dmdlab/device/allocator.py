"""What glibc's allocator does with memory that is freed; elsewhere nothing happens.

A step of a training or of a flow allocates and frees arrays of a megabyte or so, which glibc would map and unmap each
time: a third of all CPU time for a U-Net (docs/log.md). Kept, they need not be.
"""

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # malloc.h


def tune_allocator() -> None:
    """Keep freed memory for reuse, from now on."""
    if platform.libc_ver()[0] == "glibc":
        for option, value in {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 1 << 26}.items():
            ctypes.CDLL(None).mallopt(option, value)
