"""What counts as a secret is covered in every spelling, and nothing else is."""

from __future__ import annotations

import json
import time
import traceback

import pytest
from kolora.hubs.hub import HUBS
from kolora.redaction import MASK, find_secret, redact, redact_values, scrub

from tests.redaction.table import TOKENS, VALUES, Secret, all_secrets, leaks

SECRETS = all_secrets()


@pytest.mark.parametrize("secret", SECRETS, ids=lambda each: each.name)
def test_no_spelling_of_a_secret_is_left_in_any_text(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(secret.variable, secret.content)
    sentences = list(secret.sentences)
    assert len(sentences) > 5
    for sentence in sentences:
        covered = redact(sentence)
        assert not leaks(secret, covered), sentence
        assert redact(covered) == covered
        assert not leaks(secret, json.dumps(redact_values({"a": [sentence], sentence: 1})))


def test_the_spellings_above_would_have_been_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in SECRETS:
        monkeypatch.delenv(secret.variable, raising=False)
    seen = [sentence for secret in SECRETS for sentence in secret.sentences if leaks(secret, sentence)]
    assert len(seen) > 1000


FORMS = (
    "https://bucket.example/x?token={}",
    "https://bucket.example/x?X-Amz-Signature={}&X-Amz-Date=20260101",
    "https://bucket.example/x?a=1&X-Amz-Credential={}",
    "https://bucket.example/x?OSSAccessKeyId={}&Signature=abc",
    "https://bucket.example/x?Expires=1&Signature={}",
    "https://bucket.example/x?sig={}&se=2026",
    "https://bucket.example/x?auth_key={}",
    "https://bucket.example/x#access_token={}",
    "https%3A%2F%2Fbucket.example%2Fx%3Ftoken%3D{}",
    "https://{}@mirror.example/x",
    "http://someone:{}@mirror.example/x",
    "https%3A%2F%2Fsomeone%3A{}%40mirror.example",
    r"http:\/\/someone:{}@mirror.example",
    "Authorization: Bearer {}",
    "authorization: {}",
    "'Authorization': 'Bearer {}'",
    '"Proxy-Authorization": "Basic {}"',
    "b'Authorization', b'Bearer {}'",
    "Cookie: m_session_id={}; other=1",
    "Set-Cookie: session={}; Path=/",
    "--set dataset.token={}",
    "--token {}",
    "HF_TOKEN={}",
    "password: {}",
    "{{'token': '{}', 'user': 'x'}}",
    '{{"api_key": "{}"}}',
    r"{{\"secret\": \"{}\"}}",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", ["Zq81hT0pLw", *TOKENS.values()])
def test_a_secret_of_nobodys_environment_is_known_by_where_it_stands(form: str, value: str) -> None:
    covered = redact(form.format(value))
    assert value not in covered
    assert MASK in covered
    assert redact(covered) == covered


@pytest.mark.parametrize(
    "text",
    [
        *(
            "tokens per prompt, at most 256: 12, 20",
            "set HF_TOKEN to a token",
            '{"token_limit": 256, "token": 12}',
        ),
        *("a cookie: brown, with sugar", "the basic composition of standards", "the bearer of bad news", "hf_transfer"),
        *(
            "ms-marco-MiniLM-L6-v2",
            "https://example.com/a/b?page=2&sort=name",
            "git@example.com",
            "0a" * 32,
        ),
        *("https://example.com/@user/x", "train: will run: lora.rank changed: not set -> 8", "秘密花园：一把钥匙"),
        *("keyboard: a key in a lock", "images/01.png: 3 of 12", "s3cret", "user", "Pq7zz", "xPq7z"),
    ],
)
def test_what_is_no_secret_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", VALUES["short"])
    monkeypatch.setenv("WANDB_API_KEY", "true")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/images/01.png")
    monkeypatch.setenv("HF_ENDPOINT", "http://user:s3cretPASS@mirror.example")
    assert redact(text) == text


@pytest.mark.parametrize("hub", HUBS.values(), ids=lambda hub: hub.name)
@pytest.mark.parametrize("value", VALUES.values())
def test_every_hubs_token_is_a_secret(hub, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.token, value)
    assert redact(f"({value})") == f"({MASK})"
    assert find_secret(value) == (f"the value of {hub.token}" if len(value) >= 8 else None)


@pytest.mark.parametrize(
    "letters", ["a", "://a", "&a", "a.-", "eyJ", "%3A%2F%2Fa", "basic ", "token=", "ftp://a:", "'"]
)
def test_long_texts_take_no_time_to_speak_of(letters: str) -> None:
    began = time.process_time()
    redact(letters * (200_000 // len(letters)))
    assert time.process_time() - began < 3


def test_what_led_to_an_exception_is_scrubbed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = next(each for each in SECRETS if each.name == "HF_ENDPOINT-plain-encoded")
    monkeypatch.setenv(secret.variable, secret.content)

    class Odd(Exception):
        """Says what it was given by an attribute, as clients' errors do."""

        def __init__(self, url: str) -> None:
            super().__init__(ConnectionError(f"no {url}"), {"url": url}, [url])
            self.url = url

        def __str__(self) -> str:
            return f"odd {self.url} {self.args}"

    def fail() -> None:
        try:
            try:
                raise OSError(5, "cannot read", secret.content)
            except OSError:
                raise Odd(secret.content)  # noqa: B904 - the context is what is tried
        except Odd as problem:
            problem.add_note(f"asked {secret.content}")
            raise ExceptionGroup("several", [problem, ValueError(secret.value)]) from problem

    with pytest.raises(ExceptionGroup) as caught:
        fail()
    assert leaks(secret, "".join(traceback.format_exception(caught.value)))
    scrub(caught.value)
    assert not leaks(secret, "".join(traceback.format_exception(caught.value)))
