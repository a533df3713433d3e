"""Damage of every kind to a file that is well, to JSON that is, and to the words of a command."""

import json

from hypothesis import strategies as st


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that is well, with a few bytes changed, lost, doubled, or put in; or cut short; or nothing of the kind."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    held = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        end = draw(st.sampled_from([64, 256, max(1, len(held))]))  # heads are what readers believe
        at = draw(st.integers(0, min(end, len(held))))
        match draw(st.sampled_from(["change", "change", "change", "cut", "lose", "put", "double"])):
            case "change" if at < len(held):
                held[at] = draw(st.integers(0, 255))
            case "cut":
                del held[at:]
            case "lose":
                del held[at : at + draw(st.integers(1, 40))]
            case "put":
                held[at:at] = draw(st.binary(max_size=20) | st.sampled_from([b"\xff" * 8, b"[" * 3000, b"\0" * 9]))
            case _:
                held[at:at] = held[at : at + 64]
    return bytes(held)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["../../x", "/etc/passwd", "\x1b[2J", 10**400, -1, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def altered(draw: st.DrawFn, whole: str) -> bytes:
    """A JSON file in which a few values were replaced or taken out, or whose bytes are damaged."""
    if draw(st.integers(0, 4)) == 0:
        return draw(damaged(whole.encode()))
    document = json.loads(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = document
        while isinstance(at, dict) and at:
            key = draw(st.sampled_from(sorted(at)))
            if draw(st.booleans()) or not isinstance(at[key], dict):
                if draw(st.integers(0, 3)):
                    at[key] = draw(ANY_JSON)
                else:
                    del at[key]
                break
            at = at[key]
    return json.dumps(document).encode("utf-8", "surrogatepass")


def words() -> st.SearchStrategy[list[str]]:
    """Overrides: keys that there are with odd values, and no keys at all."""
    keys = (
        "law.dim",
        "law.name",
        "seed",
        "student.init",
        "network.width",
        "teacher.kind",
        "terms.x.weight",
        "together",
    )
    value = st.text(max_size=12) | st.sampled_from(
        ["[1, [2]]", "{stop=3}", "{start=0, stop=10, step=0}", "1e400", "nan", "9" * 5000, "[" * 3000, "2020-01-01",
         "1\nseed = 2", "''", "true", "-1", "0x7fffffffffffffff", "{a={b={c=1}}}", "[]", '"\\u0000"']
    )  # fmt: skip
    word = st.builds("{}={}".format, st.sampled_from(keys) | st.text(max_size=8), value) | st.text(max_size=12)
    return st.lists(word, max_size=3)
