"""What an experiment is: frozen, validated, hashable. (Being written: only the error type and the name helper so far.)"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from a user: a sentence that says what was wrong, what was expected and what to do."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint `; did you mean 'x'?` for a misspelt name, or the list of valid names when none is near."""
    valid = sorted(names)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid names: {', '.join(valid)}"
