"""E-mail addresses of every form that RFC 5322 and 5321 allow are found whole, and nothing beside them."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.detect.personal_data import find
from stages.pii import Pii, builtin

WHOLE = [
    "o'neil@example.com",
    "d'annie.o'brien@example.fr",
    "_foo@example.com",
    "__foo_bar@example.com",
    "+foo@example.com",
    "~foo@example.com",
    "a+b+c@example.com",
    "a~b@example.com",
    "dept/user@example.com",
    "x!y@example.com",
    "a&b@example.com",
    "tag#1@example.com",
    "50%off@example.org",
    "a^b$c*d@example.com",
    "foo-@example.com",
    "foo_@example.com",
    "bounces+joe=example.com@list.example.org",
    '"john doe"@example.com',
    '"john..doe@home"@example.com',
    r'"a\"b"@example.com',
    "name@[192.0.2.1]",
    "o'neil@[10.0.0.1]",
    "name@[IPv6:2001:db8::1]",
    "name@[ipv6:::1]",
    "name@müller.de",
    "info@xn--mller-kva.de",
    "jörg.müller@bücher.example.de",
    "संपर्क@डाटामेल.भारत",
    "почта@пример.рф",
    "張三@例子.中国",
    "USER@EXAMPLE.COM",
    "a@sub.sub2.example.co.uk",
    "1234567890@example.com",
    "a" * 64 + "@example.com",
]
AROUND = [
    "{}",
    "write to {}.",
    "{}...",
    "<{}>",
    "({})",
    "[{}]",
    "mailto:{}?subject=x",
    "email={}&x=1",
    "{{'email': '{}'}}",
    "**{}**",
    "`{}`",
    "|{}|",
    "{}, {}; {}",
    "é、{}、ü",
    "{}\n{}",
]
NOTHING = [
    "@decorator\ndef f(): ...",
    "@app.route('/x')",
    "    @property.setter",
    "pkg@1.2.3 and react@18.2.0-rc.1",
    "npm i @types/node@20.1.0",
    "h = x@w.to(device) + A@B.T",
    "y = (x@self.weight).sum()",
    "img@2x.png user@localhost a@b",
    "name@[999.1.1.1] name@[IPv6:zz] name@[]",
    "_@example.com  .@example.com  @example.com",
    "a@-example.com a@example-.com a@example..com",
    "foo@bar.baz lo@rem.ipsum",
    '"unclosed@ example',
    "a" * 65 + "@example.com",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("address", WHOLE)
def test_an_address_is_found_whole_and_nothing_beside_it(address: str, around: str) -> None:
    text = around.replace("{{", "\1").replace("}}", "\2").replace("{}", address).replace("\1", "{").replace("\2", "}")
    data = text.encode()
    assert [data[a:b].decode() for a, b, kind in find(data) if kind == "email"] == [address] * around.count("{}")


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_like_an_address_is_left_alone(text: str) -> None:
    assert [item for item in find(text.encode()) if item[2] == "email"] == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("_foo@example.com_", "foo@example.com"),
        ("~~foo@example.com~~", "foo@example.com"),
        ("https://example.com/contact/jane@example.org", "jane@example.org"),
        ("//host/jane@example.org", "jane@example.org"),
        ("key=jane@example.org", "jane@example.org"),
        ("联系jane@example.org吧", "jane@example.org"),
        ("a@example.com(work)", "a@example.com"),
        ("a@b.co.kr(담당)", "a@b.co.kr"),
        ("'o'neil@example.com'", "o'neil@example.com"),
    ],
)
def test_markup_paths_and_keys_stay_outside(text: str, address: str) -> None:
    data = text.encode()
    assert [data[a:b].decode() for a, b, _ in find(data)] == [address]


@given(st.text("ab@.'\"_~/=[]:1é中क\u093e \\(", max_size=40))
def test_any_text_is_read_and_every_span_lies_between_characters(text: str) -> None:
    data = text.encode()
    for start, stop, _ in find(data):
        assert data[start:stop].decode()
        assert b"@" in data[start:stop]


def seconds(text: str) -> float:
    """Return CPU seconds, the least of three tries: other work on the machine only adds to them."""
    tries = []
    for _ in range(3):
        begin = time.process_time()
        Pii().annotate(pa.table({"text": pa.array([text], pa.large_string())}))
        tries.append(time.process_time() - begin)
    return min(tries)


@pytest.mark.parametrize("joint", ["\n", "、", ",", " 8.8.8.8 +49 30 1234567 "], ids=repr)
def test_time_grows_with_the_finds_and_not_with_their_square(joint: str) -> None:
    few, many = (joint.join(f"user{n}@example.com" for n in range(count)) for count in (2_000, 16_000))
    seconds(few)
    assert seconds(many) < 30 * max(seconds(few), 0.01)  # eight times as many; by the square 64


def test_every_one_of_many_addresses_is_found() -> None:
    text = "、".join(f"user{n}@example.com" for n in range(5_000))
    [(_, _, items)] = list(builtin(pa.array([text], pa.large_string())))
    assert len(items) == 5_000
