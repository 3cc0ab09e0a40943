"""Changes that keep the structure of a file, so that what is changed gets past the first check.

Each takes the content of a file and random numbers, and falls back on changes of bytes where the content is not of its
format.
"""

import json
import random
import struct
import zlib
from typing import Any
from xml.etree import ElementTree as ET

import yaml  # type: ignore[import-untyped]

#: Values that readers trip over.
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 255, 256, 65536, 2**31, 2**63, 10**4300 - 1, 1e308, 1.5, float("nan"), float("inf")),
    *(
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "a\\b",
        "a\0b",
        "\ud800",
        "\udc80",
        "e\u0301",
        "\u00e9",
    ),
    *("9" * 5000, "1e999", "-1", "nan", "x" * 300, "x/" * 3000, "\u202e", "\x1b[31m", [], {}, [[]], [1, 2, 3, 4]),
)
#: Tokens that text files trip over.
TOKENS = (
    *(
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "a\0b",
        "\ufeff",
        "e\u0301",
        "\u2028",
        "\x0b",
        "\x85",
        '"',
        "'",
        ";",
        ",",
    ),
    *(
        "9" * 5000,
        "-1",
        "0",
        "1e999",
        "nan",
        "inf",
        "0x10",
        "\u00b2",
        "\u0663",
        "x" * 300,
        "a/" * 3000,
        "\r",
        "\n\n",
        "\t",
    ),
)
_DOCTYPE = (
    b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;"><!ENTITY d SYSTEM "file:///etc/passwd">]>'
)


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """Cut, repeat, overwrite or insert a piece."""
    start = draw.randint(0, len(content))
    end = min(start + draw.choice((0, 1, 2, 4, 8, 64)), len(content))
    piece = draw.choice((b"", b"\0", b"\xff" * 4, b"\x80\x02", content[start:end] * 2, content, b"\x7f\xff\xff\xff"))
    return draw.choice(
        (content[:start] + piece + content[end:], content[:start], content[start:], content[:end] + piece)
    )


def of_text(content: bytes, draw: random.Random) -> bytes:
    """Change one field of one line, or one line."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    at = draw.randrange(len(lines))
    separator = draw.choice((",", " ", ";", ":", "/"))
    fields = lines[at].split(separator)
    fields[draw.randrange(len(fields))] = draw.choice(TOKENS)
    changed = separator.join(fields)
    lines[at : at + 1] = draw.choice(
        ([changed], [changed], [], lines[at : at + 1] * 2, [lines[-1]], [lines[at], changed])
    )
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def of_json(content: bytes, draw: random.Random) -> bytes:
    """Change, remove or nest one value."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return of_bytes(content, draw)
    if draw.random() < 0.05:
        depth = draw.choice((20, 900, 20_000))
        return b"[" * depth + content + b"]" * depth
    changed = change(tree, draw)
    text = json.dumps(changed)
    return (_twice(text, draw) if draw.random() < 0.1 else text).encode()


def of_json_lines(content: bytes, draw: random.Random) -> bytes:
    """Change the JSON of one line."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    lines[at] = of_json(lines[at], draw)
    return b"\n".join(lines)


def of_yaml(content: bytes, draw: random.Random) -> bytes:
    """Change one value, or the text."""
    if draw.random() < 0.5:
        text = content.decode("utf-8", "replace")
        tag = draw.choice(
            ("!!timestamp x", "!!bool x", "!!int ''", "!!binary @", "!!python/name:os.system", "&a [*a]", "{")
        )
        return text.replace(": ", f": {tag} ", 1).encode() if draw.random() < 0.3 else of_text(content, draw)
    try:
        tree = yaml.safe_load(content)
    except Exception:  # noqa: BLE001, whatever the parser raises
        return of_bytes(content, draw)
    changed: str = yaml.dump(change(tree, draw), Dumper=_Dumper, sort_keys=False)
    return changed.encode("utf-8", "surrogatepass")


def of_xml(content: bytes, draw: random.Random) -> bytes:
    """Change the text, the name or the place of one element."""
    try:
        root = ET.fromstring(content)  # noqa: S314, a file of ours that was changed, with the entities that we put in
    except (ET.ParseError, ValueError, LookupError):
        return of_bytes(content, draw)
    parents = [element for element in root.iter() if len(element)]
    parent = draw.choice(parents or [root])
    child = draw.choice(list(parent) or [parent])
    kind = draw.randrange(5)
    if kind == 0:
        child.text = draw.choice([token for token in TOKENS if token.isprintable()])
    elif kind == 1 and child in list(parent):
        parent.remove(child)
    elif kind == 2 and child is not parent:
        parent.append(child)
    elif kind == 3:
        child.tag = draw.choice(("object", "name", "bndbox", "part", "size"))
    elif kind == 4:
        return draw.choice(
            (_DOCTYPE + content, b"<a>" * 9000 + b"</a>" * 9000, content.replace(b"</name>", b"&d;</name>"))
        )
    return b"" if parent is child and not len(root) else _to_xml(root, content)


def of_png(content: bytes, draw: random.Random) -> bytes:
    """Change, remove, repeat or insert one chunk; its checksum fits."""
    chunks = _chunks(content)
    if not chunks:
        return of_bytes(content, draw)
    at = draw.randrange(len(chunks))
    kind, data = chunks[at]
    if kind == b"IHDR" and len(data) == 13 and draw.random() < 0.8:
        side = draw.choice((0, 1, 7, 20_000, 60_000, 2**31 - 1, 2**32 - 1))
        depth, colour = draw.choice((1, 8, 16, 3)), draw.choice((0, 2, 3, 4, 6, 9))
        data = draw.choice(
            (
                struct.pack(">I", side) + data[4:],
                data[:4] + struct.pack(">I", side) + data[8:],
                data[:8] + bytes((depth, colour)) + data[10:],
            )
        )
    else:
        data = of_bytes(data, draw)
    bomb = (b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000)))
    chunks[at : at + 1] = draw.choice(
        (
            [(kind, data)],
            [(kind, data)],
            [],
            [chunks[at]] * 2,
            [bomb, chunks[at]],
            [chunks[at], (b"fcTL", data), (b"tRNS", data)],
        )
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in chunks)


def change(tree: Any, draw: random.Random) -> Any:  # noqa: ANN401, any JSON
    """A tree of lists and dictionaries with one place changed."""
    if isinstance(tree, dict) and tree and draw.random() < 0.9:
        key = draw.choice(list(tree))
        kind = draw.random()
        if kind < 0.1:
            return {other: value for other, value in tree.items() if other != key}
        if kind < 0.15:
            return tree | {draw.choice(("", "x", "__class__", "\ud800", "9" * 5000)): tree[key]}
        return tree | {key: change(tree[key], draw)}
    if isinstance(tree, list) and tree and draw.random() < 0.9:
        at = draw.randrange(len(tree))
        kind = draw.random()
        if kind < 0.1:
            return tree[:at] + tree[at + 1 :]
        if kind < 0.2:
            return [*tree, tree[at]]
        return [*tree[:at], change(tree[at], draw), *tree[at + 1 :]]
    return draw.choice(VALUES)


def _twice(text: str, draw: random.Random) -> str:
    """The text of a JSON with its first key twice."""
    start, end = text.find('{"'), text.find(", ")
    return text if start < 0 or end < start else text[: start + 1] + text[start + 1 : end] + ", " + text[start + 1 :]


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes every value that `change` knows, without references."""

    def ignore_aliases(self, _data: object) -> bool:
        """None are written."""
        return True


def _to_xml(root: ET.Element, content: bytes) -> bytes:
    try:
        return ET.tostring(root)
    except RecursionError:  # an element that was moved into itself
        return content[: len(content) // 2]


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
