"""Compiles translations without GNU gettext, which not every machine has."""

import struct
from pathlib import Path

HEADER = "Content-Type: text/plain; charset=UTF-8\n"
MAGIC, REVISION, HEADER_BYTES = 0x950412DE, 0, 28


def write_catalogue(folder: Path, language: str, texts: dict[str, str]) -> None:
    """Write a django.mo for LOCALE_PATHS. Format: gettext's manual, "The Format of GNU MO Files"."""
    path = folder / language / "LC_MESSAGES" / "django.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(compile_catalogue({"": HEADER, **texts}))


def compile_catalogue(texts: dict[str, str]) -> bytes:
    pairs = sorted((original.encode(), translated.encode()) for original, translated in texts.items())
    strings = [original for original, _ in pairs] + [translated for _, translated in pairs]
    # Two tables of lengths and offsets, originals and translations; then the strings, each ended by a zero byte.
    table_bytes = 8 * len(pairs)
    offset = HEADER_BYTES + 2 * table_bytes
    index = b""
    for string in strings:
        index += struct.pack("<2I", len(string), offset)
        offset += len(string) + 1
    header = struct.pack("<7I", MAGIC, REVISION, len(pairs), HEADER_BYTES, HEADER_BYTES + table_bytes, 0, 0)
    return header + index + b"".join(string + b"\0" for string in strings)
