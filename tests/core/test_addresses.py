"""No spelling of a private address is accepted; no private address is called public."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.addresses import Address, Listing, Target, listing, literal, may_connect, target
from apps.core.errors import Unprocessable
from apps.core.settings import SettingsError

NOT_PUBLIC = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
]
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
CIRCLED = str.maketrans("123456789", "①②③④⑤⑥⑦⑧⑨")


def number(value: int, base: str) -> str:
    """One number as C libraries read it."""
    return {"dec": f"{value}", "hex": f"{value:#x}", "HEX": f"0X{value:X}", "oct": f"0{value:o}"}[
        base
    ]


@st.composite
def private_hosts(draw: st.DrawFn) -> str:
    """An address that is not public, in any of the ways to write it in a URL."""
    network = IPv4Network(draw(st.sampled_from(NOT_PUBLIC)))
    offset = draw(st.integers(0, network.num_addresses - 1))
    address = network[offset]
    value = int(address)
    kind = draw(st.sampled_from(["parts", "v6", "letters", "padded"]))
    if kind == "v6":
        high, low = value >> 16, value & 0xFFFF
        form = draw(
            st.sampled_from(
                [
                    f"::ffff:{address}",
                    f"::ffff:{high:x}:{low:x}",
                    f"0:0:0:0:0:FFFF:{high:X}:{low:X}",
                    f"::{address}",
                    f"::ffff:0:{high:x}:{low:x}",
                    f"64:ff9b::{address}",
                    f"64:ff9b::{high:x}:{low:x}",
                    f"64:ff9b:1::{high:x}:{low:x}",
                    f"2002:{high:x}:{low:x}::1",
                    f"2001:0:808:808:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
                ]
            )
        )
        return f"[{form}]"
    if kind == "letters":
        dot = draw(st.sampled_from("。．｡."))
        table = draw(st.sampled_from([FULL_WIDTH, CIRCLED, {}]))
        return str(address).translate(table).replace(".", dot)
    if kind == "padded":
        return ".".join(part.zfill(draw(st.integers(1, 5))) for part in str(address).split("."))
    count = draw(st.integers(1, 4))
    octets = list(address.packed)
    tail = int.from_bytes(bytes(octets[count - 1 :]), "big")
    bases = st.sampled_from(["dec", "hex", "HEX", "oct"])
    parts = [number(part, draw(bases)) for part in (*octets[: count - 1], tail)]
    return ".".join(parts) + draw(st.sampled_from(["", "."]))


def leads_to(host: str) -> Address | None:
    """The address to which a URL with this host would connect; None when it is refused."""
    try:
        found = target(f"https://{host}/", Listing())
    except Unprocessable:
        return None
    address = literal(found.host)
    assert address is not None, f"{host} was taken for a name"
    return address if may_connect(address, listed=False) else None


@given(private_hosts())
def test_no_spelling_of_a_private_address_is_accepted(host: str) -> None:
    """Whatever way an IPv4 address that is not public is written, it is refused."""
    assert leads_to(host) is None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_address_and_its_wrappings_are_judged_alike(address: IPv4Address) -> None:
    """Wrapping an IPv4 address into IPv6 neither opens nor closes a way to it."""
    high, low = int(address) >> 16, int(address) & 0xFFFF
    verdict = may_connect(address, listed=False)
    for form in (f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{high:x}:{low:x}::"):
        assert may_connect(ip_address(form), listed=False) == verdict
    if verdict:
        assert address.is_global


@given(st.text(max_size=40))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """No text makes the check fail in another way, and what it accepts is plain ASCII."""
    for url in (text, f"https://{text}", f"https://example.com/{text}", f"https://{text}.com/"):
        try:
            found = target(url, Listing())
        except Unprocessable:
            continue
        assert found.url.isascii()
        assert target(found.url, Listing()) == found


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"),
        *("fd20:ce::254", "169.254.170.2", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"),
        *(
            "255.255.255.255",
            "::ffff:169.254.169.254",
            "0.1.2.3",
            "2001:0:808:808::5601:5601",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ),
    ],
)
def test_a_listed_host_still_leads_to_no_metadata(text: str) -> None:
    """Metadata, link-local, multicast and unspecified addresses are closed to everybody."""
    assert not may_connect(ip_address(text), listed=True)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "10.1.2.3", "fd12::1", "100.64.0.9", "8.8.8.8"]
)
def test_a_listed_host_may_be_private(text: str) -> None:
    """What an operator lists may be loopback or in the intranet."""
    assert may_connect(ip_address(text), listed=True)


def test_a_listing_holds_exactly_what_it_says() -> None:
    """A host stands for ports 80 and 443, host:port for that port."""
    listed = listing(" Wiki.Intern , 127.0.0.1:8123,[::1]:9000, 한국.kr ")
    held = [("wiki.intern", 80), ("wiki.intern", 443), ("127.0.0.1", 8123), ("::1", 9000)]
    assert all(listed.holds(*place) for place in held)
    assert listed.holds("xn--3e0b707e.kr", 443)
    assert not any(
        listed.holds(*place)
        for place in [("wiki.intern", 8080), ("127.0.0.1", 80), ("::1", 80), ("intern", 80)]
    )


@pytest.mark.parametrize(
    "text", ["http://wiki", "wiki:http", "wiki:0", "wiki:65536", "a b", "user@wiki", "127.1"]
)
def test_an_unreadable_listing_stops_the_start(text: str) -> None:
    """The message names the variable and the entry."""
    with pytest.raises(SettingsError, match="FETCH_ALLOW_HOSTS"):
        listing(f"good.example, {text}")


def test_a_url_gets_one_spelling() -> None:
    """Case, default port, fragment, trailing dot and letters of the path are made plain."""
    found = target("HTTPS://Ko.Wikipedia.ORG.:443/wiki/대한민국?q=수도#역사", Listing())
    path = "/wiki/%EB%8C%80%ED%95%9C%EB%AF%BC%EA%B5%AD?q=%EC%88%98%EB%8F%84"
    assert found == Target("https", "ko.wikipedia.org", 443, path, listed=False)
    assert found.url == f"https://ko.wikipedia.org{path}"
