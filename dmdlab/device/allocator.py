"""What glibc's allocator does with memory that is freed; elsewhere nothing happens.

A training step allocates and frees arrays of a megabyte or so, which glibc would map and unmap each time. Kept, they
need not be; what that saves depends on the machine. Where blocks of many sizes come and go among others that stay, kept
blocks leave gaps that hardly anything fits: while Jacobians were probed, a process took up to three times what it held.
"""

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # malloc.h


def tune_allocator() -> None:
    """Keep freed memory for reuse, from now on."""
    _set({MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 1 << 26})


def keep_freed(keep: bool) -> None:
    """In a process whose allocator is tuned: keep large blocks that are freed, or give each back."""
    _set({MMAP_THRESHOLD: 1 << 17, MMAP_MAX: 0 if keep else 1 << 16})
    if not keep and _glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def _set(options: dict[int, int]) -> None:
    if _glibc():
        for option, value in options.items():
            ctypes.CDLL(None).mallopt(option, value)
