"""URLs of Redis servers, as people write them and as they get them wrong."""

import pytest

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.redis_url import RedisUrl, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://", RedisUrl("127.0.0.1")),
        ("redis://here", RedisUrl("here")),
        ("redis://here:7000/3", RedisUrl("here", 7000, database=3)),
        ("redis://[2001:db8::1]:7000", RedisUrl("2001:db8::1", 7000)),
        ("rediss://here/", RedisUrl("here", is_encrypted=True)),
        ("redis://:p%40ss@here", RedisUrl("here", password="p@ss")),  # noqa: S106
        ("redis://me:@here", RedisUrl("here", user="me")),
        ("redis://m%3Ae:x@here", RedisUrl("here", user="m:e", password="x")),  # noqa: S106
        ("unix:///run/redis.sock", RedisUrl(path="/run/redis.sock")),
        ("unix:///run/r%20s?db=2", RedisUrl(path="/run/r s", database=2)),
        ("unix://:x@/run/r", RedisUrl(path="/run/r", password="x")),  # noqa: S106
    ],
)
def test_a_url_says_where(text: str, url: RedisUrl) -> None:
    assert parse(text) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no scheme is none of Redis's; write redis://HOST"),
        ("127.0.0.1:6379", "is none of Redis's"),
        ("http://here", "http is none of Redis's"),
        ("redis://here:port", "host or port are none"),
        ("redis://here:70000", "host or port are none"),
        ("redis://[::1", "host or port are none"),
        ("redis://here/x", "no number of a database"),
        ("redis://here/-1", "no number of a database"),
        ("redis://here/12345", "no number of a database"),
        ("redis://here/1/2", "no number of a database"),
        ("redis://here?ssl_cert_reqs=none", "there are options for that"),
        ("redis://here#1", r"there is a # in it; .* # %23"),
        ("unix://run/redis.sock", "the whole path of a socket"),
        ("unix:///", "the whole path of a socket"),
        ("unix:///run/r?db=x", "no number of a database"),
        ("unix:///run/r?password=x", r"only \?db=NUMBER"),
    ],
)
def test_what_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        parse(text)


@pytest.mark.parametrize("secret", ["hu/nter", "hu:nter@x", "1/hu", "hu#nter", "[hu"])
def test_a_password_that_is_not_escaped_is_not_repeated(secret: str) -> None:
    with pytest.raises(FormatError, match="%2F") as caught:
        parse(f"redis://:{secret}@here:x")
    assert "hu" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:secret@here:1/2", "redis://here:1"),
        ("rediss://:secret@[::1]", "rediss://[::1]:6379"),
        ("unix://:secret@/run/r", "unix:///run/r"),
    ],
)
def test_it_is_shown_without_its_password(text: str, shown: str) -> None:
    assert str(parse(text)) == shown
    assert "secret" not in repr(parse(text))


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("redis://", False),
        ("redis://localhost", False),
        ("redis://127.0.0.2", False),
        ("redis://[::1]", False),
        ("unix:///run/r", False),
        ("rediss://here", False),
        ("redis://here", True),
        ("redis://192.0.2.1", True),
    ],
)
def test_only_the_clear_over_a_network_is_open_to_others(
    text: str, is_open: bool
) -> None:
    assert parse(text).is_open_to_others is is_open
