"""Secrets go, ordinary text stays, and no text takes long."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodewise.core.secrets import (
    RedactingWriter,
    is_secret_name,
    redact,
    redact_arguments,
    secret_values,
)

# Put together here, so that no scanner of this file takes them for real ones.
C = "Zq7" + "Kv2mW9xR4tLb8N"
HEX = "0123456789abcdef" * 2
PEM = f"-----BEGIN PRIVATE KEY-----\nMIIE{C}\n{C}\n-----END PRIVATE KEY-----"

PLANTED = [
    f"postgres://admin:{C}@db.example:5432/app",
    f"https://user:p@{C}@host/path?x=1",
    f"/home/me/https:/user:{C}@host/path",
    f"git+https://x-access-token:{C}@github.com/a/b.git",
    f"jdbc:sqlserver://h:1433;user=u;password={C};database=d",
    f"Server=h;Uid=u;Pwd={C};",
    f"https://a.blob.core.windows.net/c?sv=2024-11-04&sp=r&sig={C}%3D&se=2026-01-01",
    f"SharedAccessSignature=sv=2024&sig={C};EndpointSuffix=core.windows.net",
    f"AccountName=a;AccountKey={C}==;EndpointSuffix=core.windows.net",
    f"fs.azure.account.key.acc.dfs.core.windows.net={C}==",
    f"--conf spark.hadoop.fs.s3a.secret.key={C}",
    f"Authorization: Bearer {C}",
    f"'authorization': 'Basic {C}=='",
    f"got 401 for bearer {C}",
    f"> X-Api-Key: {C}",
    f"mysql --password {C} -h host",
    f"tool --token={C} --verbose",
    f"API_KEY={C}",
    f"export DB_PASSWORD='{C} and more'",
    f'{{"client_secret": "{C}\\"{C}", "user": "me"}}',
    rf"b'{{\"access_token\": \"{C}\"}}'",
    f"password: {C}",
    f"login failed (password: '{C}')",
    f"credentials => {C}",
    f"GET /?user=me&access_key={C}&x=1",
    f"X-Amz-Signature={C}",
    f"dapi{HEX}",
    f"ghp_{C * 2}",
    f"hf_{C * 2}",
    f"AKIAABCDEFGHIJKLMNOP {(C * 3)[:40]}",
    f"eyJhbGciOiJIUzI1NiJ9.{C}.{C}",
    PEM,
    f'{{"type": "service_account", "private_key": "{PEM!r}", "client_email": "a@b.c"}}',
]

ORDINARY = [
    "the password must have 8 characters; a secret is never kept",
    "SyntaxError: unexpected token: ';'",
    "error: option --token is missing",
    "--password requires an argument",
    "max_tokens=512 tokenizer=bert num_tokens=7 pad_token='<pad>' eos_token_id=2",
    "TOKENIZERS_PARALLELISM=false",
    "PWD=/home/me",
    "TOKEN_FILE=/run/token PASSWORD_PATH=/x",
    "if token == other: pass",
    "password=None, token=null, secret=${SECRET}, api_key=$API_KEY",
    "https://user:${PASSWORD}@host/",
    "spark://CoarseGrainedScheduler@10.0.0.1:34567",
    "spark://10.0.0.1:7077,10.0.0.2:7077",
    "abfss://container@account.dfs.core.windows.net/path",
    "ssh://git@github.com/a/b",
    "see http://localhost:4040/jobs and mail me@example.org",
    "the bearer of good news",
    "26/01/02 10:11:12 INFO Executor: Running task 0.0 in stage 1.0 (TID 5)",
    "Basic usage: nodewise prepare photos shards --size 192",
    "scikit-learn 1.7, sk-learn-contrib, keyboard=us, monkey=1, secretary=Bob, passwordless=true",
    "sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "run 20261121-124348-fa5d: 1,797 records, 12.3 s",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_secret_is_taken_out(text: str) -> None:
    assert C not in redact(text)
    assert HEX not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", [*PLANTED, "\n".join(PLANTED), "password: *** token=*** --token ***"])
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(alphabet="ab:=@/\"'\\ ,;&-.*$<>\n{}9") | st.text())
def test_redacting_any_text_twice_is_redacting_it_once(text: str) -> None:
    for piece in (text, f"password{text}", f"x://u:{text}@h", f"--token {text} Bearer {text}"):
        assert redact(redact(piece)) == redact(piece)


def test_what_is_around_a_secret_stays() -> None:
    assert redact(f"postgres://admin:{C}@db/app?x=1") == "postgres://admin:***@db/app?x=1"
    assert redact(f"c?sv=1&sig={C}&se=2") == "c?sv=1&sig=***&se=2"
    assert redact(f'{{"token": "{C}", "n": 1}}') == '{"token": "***", "n": 1}'
    assert redact(f"f(password={C}, n=1)") == "f(password=***, n=1)"


HOSTILE = [
    *("a", "a=", "a:", "password", "password=", 'token="', "token=,", "authorization:", "bearer ", "--a ", "--token "),
    *(
        "://",
        "://a:b@",
        "@",
        "eyJ",
        "eyJaaaaaaaaaaa.",
        "sk-",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        " ",
        '"',
        "\\",
    ),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_long_line_takes_more_than_linear_time(piece: str) -> None:
    # A pattern of quadratic time would need half an hour for this.
    text = "x://u:" + piece * (500_000 // len(piece))
    assert redact(redact(text)) == redact(text)


SECRET_NAMES = """
    password DB_PASSWORD dbPasswd --api-key apikey authToken GITHUB_TOKEN AWS_SECRET_ACCESS_KEY client_secret SAS
    sas_token AccountKey GOOGLE_APPLICATION_CREDENTIALS db_pwd RAY_AUTH_TOKEN
"""
OTHER_NAMES = """
    - PATH PWD OLDPWD TOKEN_FILE max_tokens tokenizer TOKENIZERS_PARALLELISM pad_token key secretary passage SASHA
    keyboard access token_count sassy AWS_ACCESS_KEY_ID
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_another_name_is_none(name: str) -> None:
    assert not is_secret_name(name)


def test_arguments_lose_the_values_of_secret_options() -> None:
    arguments = [
        "--password",
        f"-{C}",
        "--token",
        "--flag",
        f"--api-key={C}",
        "-e",
        f"DB_PASSWORD={C}",
        "--tokens",
        "5",
    ]
    arguments += ["--secret", "${SECRET}", f"https://u:{C}@h", "-H", f"Authorization: Bearer {C}", "a b"]
    assert redact_arguments(arguments) == [
        *("--password", "***", "--token", "--flag", "--api-key=***", "-e", "DB_PASSWORD=***", "--tokens", "5"),
        *("--secret", "${SECRET}", "https://u:***@h", "-H", "Authorization: Bearer ***", "a b"),
    ]


def test_a_known_value_is_found_wherever_it_stands() -> None:
    known = secret_values({"DB_PASSWORD": C, "SHORT_TOKEN": "abc", "PATH": "/usr/bin"})
    assert known == {C}
    assert redact(f"login failed for {C}!", known=known) == "login failed for ***!"


def test_output_of_a_child_is_redacted_line_by_line() -> None:
    log = io.BytesIO()
    writer = RedactingWriter(log, known=[C])
    text = "\n".join([*PLANTED, "plain", f"the raw {C}", "the last line has no end"]).encode() + b"\xff"
    for start in range(0, len(text), 7):
        writer.write(text[start : start + 7])
    writer.close()
    written = log.getvalue()
    assert C.encode() not in written
    assert b"\nplain\nthe raw ***\nthe last line has no end\xff" in written
    assert b"-----BEGIN PRIVATE KEY-----***" in written


def test_a_line_is_passed_on_as_soon_as_it_is_whole() -> None:
    log = io.BytesIO()
    writer = RedactingWriter(log)
    writer.write(b"one\npassword=")
    assert log.getvalue() == b"one\n"
    writer.write(C.encode() + b"\n")
    assert log.getvalue() == b"one\npassword=***\n"


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    log = io.BytesIO()
    writer = RedactingWriter(log)
    for _ in range(40):
        writer.write(b"word " * 10_000)
    assert len(log.getvalue()) > 1_000_000
    writer.close()
    assert log.getvalue() == b"word " * 400_000
