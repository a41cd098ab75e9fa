"""Takes secrets out of text before it is kept: logs, errors, events, command lines, reports, the database.

What is a secret is told by its shape (``ghp_...``, a private key), by its place (``scheme://user:HERE@host``,
``Bearer HERE``) or by the name before it (``password=HERE``, ``"api_key": "HERE"``, ``--token HERE``). Each is replaced
by ``***``. References such as ``${NAME}`` stay, since they tell nothing. What has neither shape, place nor name is
found only if its value is known (:func:`secret_values`).

Time is linear in the length of the text, whatever it holds: what a pattern repeats is bounded or cannot be given back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import BinaryIO

__all__ = [
    "RedactingWriter",
    "is_secret_name",
    "redact",
    "redact_arguments",
    "secret_values",
]

MASK = "***"
MIN_KNOWN_CHARS = 8
"""Shorter values of secret variables are not looked for in text: they would be found in ordinary words."""
MIN_MEANT_CHARS = 6
"""With a digit in it, so long a word after ``token:`` is one, wherever it stands."""
MAX_NAME_CHARS = 200
MAX_LINE_BYTES = 1 << 20

# --- names -----------------------------------------------------------------------------------------------------------

_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "accesskey", "accountkey")
_WORDS = {"passwords", "secrets", "credentials", "sas", "sig"}
_PAIRS = {(one, "key") for one in ("api", "access", "account", "private")}
_PAIRS |= {(one, "signature") for one in ("access", "amz", "goog")}
_TELLS_ABOUT = {"file", "path", "dir", "name", "id", "type", "count", "limit", "length", "expiry", "url", "uri"}
"""Last words of names that say something about a secret, and not the secret."""
_OF_TEXT = {"pad", "eos", "bos", "unk", "cls", "sep", "mask", "max", "min", "num", "next", "stop", "start", "end"}
"""Words before ``token`` that make it a piece of text."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def is_secret_name(name: str) -> bool:
    """Whether a variable, option or key of this name holds a secret: ``DB_PASSWORD``, ``api-key``, ``authToken``.

    Names that say where a secret is (``TOKEN_FILE``) or mean a piece of text (``max_tokens``, ``pad_token``) do not.
    """
    words = [word.lower() for word in _WORD.findall(name[-MAX_NAME_CHARS:])]
    if not words or (len(words) > 1 and words[-1] in _TELLS_ABOUT):
        return False
    if words[-1] == "token" and len(words) > 1 and words[-2] in _OF_TEXT:
        return False
    if any(word in _WORDS or word.endswith(_ENDINGS) for word in words):
        return True
    # The shell's own PWD is a folder.
    return "pwd" in words[1:] or not _PAIRS.isdisjoint(pairwise(words))


# --- text ------------------------------------------------------------------------------------------------------------

_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)(?:(?!-----END )[\s\S])*+")
# A URL that was taken for a path has lost one of its slashes.
_URL = re.compile(r"(?<=:/)(/?[^\s:/@\"'<>]*+:)([^\s/\"'<>]+)(?=@)")
_AUTHORIZATION = re.compile(
    r"(?i)(\bauthorization\\?[\"']?[ \t]?[:=][ \t]?\\?[\"']?(?:[a-z]{1,20}[ \t])?+)[\w.~+/=-]++"
    r"|(\bbearer[ \t])(?:(?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}+|[\w.~+/=-]{24,}+)"
)
_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}(?:[\s:,;\"'/]{1,4}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])|(?![A-Za-z0-9]))"
    r"|dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"
    r"|gh[opsur]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+"
    r"|hf_[A-Za-z0-9]{20,}+|npm_[A-Za-z0-9]{30,}+|pypi-AgE[\w-]{20,}+"
    r"|xox[abeprs]-[\w-]{10,}+|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+"
    r"|sk-(?=[a-zA-Z_-]{0,20}\d)[\w-]{20,}+|sk_live_\w{16,}+"
    r"|eyJ[\w-]{10,}+\.[\w-]{10,}+(?:\.[\w-]*+)?"
    r")"
)
_NAME = re.compile(r"(?<![\w.-])(?P<name>[\w.-]++)(?P<quote>\\*[\"'])?[ \t]{0,3}(?P<sign>=>?(?!=)|:(?![:/]))[ \t]{0,3}")
_OPTION = re.compile(r"(?<![\w.-])(?P<name>--?[A-Za-z][\w.-]*+)[ \t]{1,3}(?=[^\s-])")
# Quoted, quoted within a quoted text, or up to a blank or what separates; a separator within a word belongs to it.
_VALUE = re.compile(
    r"(?P<open>\\+[\"'])[^\"'\\\n]*+"
    r"|(?P<double>\")(?:[^\"\\\n]|\\.)*+|(?P<single>')(?:[^'\\\n]|\\.)*+"
    r"|(?:[^\s\"'&;,<>)\]}]|[,)\]}](?=[^\s\"'&;,<>)\]}]))++"
)
_NO_SECRET = re.compile(r"[\"']?(?:None|null|true|false|True|False|\$\(.*|\$\{?\w+\}?)?[\"']?")
_PROSE = re.compile(
    r"(?:is|was|are|has|had|and|or|to|in|of|for|not|may|must|can|cannot|needs?|takes?|requires?|required|expects?|option"
    r"|given|missing|twice|with|without|from|TEXT|FILE|NAME|<\w+>)(?![\w-])"
)
_KEY_BEFORE = re.compile(r"(?:^|[\n({\[,;>*])[ \t-]{0,40}$")
_WORD_ALONE = re.compile(r"[ \t]*,?[ \t]*(?:[\r\n}]|$)")


def redact(text: str, *, known: Collection[str] = ()) -> str:
    """The text with every secret in it replaced by ``***``; what is redacted already stays as it is.

    Args:
        known: Values that are replaced wherever they stand, as :func:`secret_values` gives them.
    """
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, MASK)
    text = _PRIVATE_KEY.sub(rf"\1{MASK}", text)
    text = _AUTHORIZATION.sub(lambda match: (match[1] or match[2]) + MASK, text)
    text = _SHAPES.sub(MASK, text)
    text = _mask_named(_mask_named(text, _NAME), _OPTION)
    return _URL.sub(_mask_password, text)


def secret_values(environment: Mapping[str, str]) -> frozenset[str]:
    """The values of variables with a secret's name, long enough to be told from ordinary words."""
    return frozenset(
        value for name, value in environment.items() if len(value) >= MIN_KNOWN_CHARS and is_secret_name(name)
    )


def redact_arguments(arguments: Iterable[str]) -> list[str]:
    """A command line that can be kept: values of options with a secret's name, and secrets within arguments."""
    kept: list[str] = []
    is_value = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if is_value and not argument.startswith("--"):
            kept.append(argument if _NO_SECRET.fullmatch(argument) else MASK)
        elif equals and is_secret_name(name) and re.fullmatch(r"[\w.-]+", name) and not _NO_SECRET.fullmatch(value):
            kept.append(f"{name}={MASK}")
        else:
            kept.append(redact(argument))
        is_value = not equals and argument.startswith("-") and is_secret_name(argument)
    return kept


def _mask_password(match: re.Match[str]) -> str:
    return match[0] if _NO_SECRET.fullmatch(match[2]) else match[1] + MASK


def _mask_named(text: str, names: re.Pattern[str]) -> str:
    """Replace the value after each secret's name. Other values are looked into: ``url=https://host?token=HERE``."""
    parts: list[str] = []
    done = 0
    for start, end in _values(text, names):
        if start >= done:
            parts += (text[done:start], MASK)
            done = end
    return "".join(parts) + text[done:] if parts else text


def _values(text: str, names: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Where the values of secret names begin and end, quotes not counted."""
    done = 0
    for key in names.finditer(text):
        # Pwd among others is of a connection string; alone it is the shell's folder.
        is_secret = is_secret_name(key["name"]) or (key["name"].lower() == "pwd" and text.endswith(";", 0, key.start()))
        if key.start() < done or not is_secret:
            continue
        value = _VALUE.match(text, key.end())
        if value is None or _NO_SECRET.fullmatch(value[0]) or not _is_meant(text, key, value):
            continue
        done = value.end()
        yield value.start() + len(value["open"] or value["double"] or value["single"] or ""), done


def _is_meant(text: str, key: re.Match[str], value: re.Match[str]) -> bool:
    """Whether it is a name with its value, and no prose: ``unexpected token: x``, ``--token is missing``."""
    if key.re is _OPTION:
        return not _PROSE.match(value[0])
    if key["sign"] != ":" or key["quote"]:
        return True
    if len(value[0]) >= MIN_MEANT_CHARS and any(map(str.isdigit, value[0])):
        return True
    is_quoted = value[0][0] in "\"'\\"
    # Parsers say what the token is that they stopped at.
    if is_quoted and key["name"] != "token":
        return True
    before = text[max(0, key.start() - 42) : key.start()]
    return bool(_KEY_BEFORE.search(before) and (is_quoted or _WORD_ALONE.match(text, value.end())))


class RedactingWriter:
    """Passes the output of a child process on to a file, line by line, without its secrets.

    A private key is taken out over all its lines. A line of more than a megabyte is passed on in pieces, cut at a blank
    where it has one. To be used from one thread; ``close`` passes on what is left and leaves the file open.
    """

    def __init__(self, stream: BinaryIO, *, known: Collection[str] = ()) -> None:
        self._stream = stream
        self._known = known
        self._held = b""
        self._in_key = False

    def write(self, chunk: bytes) -> None:
        """Pass on the lines that are whole now."""
        self._held += chunk
        end = self._held.rfind(b"\n") + 1
        if not end and len(self._held) > MAX_LINE_BYTES:
            end = self._held.rfind(b" ") + 1 or len(self._held)
        if end:
            self._pass_on(self._held[:end])
            self._held = self._held[end:]

    def close(self) -> None:
        """Pass on the last line."""
        self._pass_on(self._held)
        self._held = b""

    def _pass_on(self, block: bytes) -> None:
        text = block.decode("utf-8", "surrogateescape")
        if self._in_key:
            _, ends, rest = text.partition("-----END ")
            if not ends:
                return
            text = ends + rest
        last = text.rfind("-----BEGIN ")
        self._in_key = last >= 0 and "PRIVATE KEY-----" in text[last : last + 80] and "-----END " not in text[last:]
        self._stream.write(redact(text, known=self._known).encode("utf-8", "surrogateescape"))
        self._stream.flush()
