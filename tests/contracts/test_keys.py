"""API keys on both engines: what opens, what no longer opens, and who notices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from apps.core.errors import BusinessFailure, NotFound, Unprocessable
from apps.core.storage import changes, keys, tables
from apps.core.storage.engine import Storage
from apps.core.storage.keyring import KeyRing, KeySnapshot, load
from apps.core.storage.keys import KeyWish, NewKey

ROOT = Path(__file__).parents[2]
PEPPER = b"p" * 32
NOW = 1_800_000_000.0
HERE = "127.0.0.1"
WISH = KeyWish("reader", ("search", "answer"))
RACERS = 4

FIRST_KEY_PROCESS = """
import asyncio, sys
from apps.core import settings
from apps.core.storage import keys
from apps.core.storage.engine import Storage

async def main(url):
    storage = await Storage.open(settings.load({}, DATABASE_URL=url))
    input()
    async with storage.session() as s:
        made = await keys.create_first(s, pepper=b"p" * 32, now=1.0)
    await storage.close()
    print(made.secret if made else "none")

asyncio.run(main(sys.argv[1]))
"""

REVOKING_PROCESS = """
import asyncio, sys
from apps.core import settings
from apps.core.storage import keys
from apps.core.storage.engine import Storage

async def main(url, key_id):
    storage = await Storage.open(settings.load({}, DATABASE_URL=url))
    input()
    async with storage.session() as s:
        await keys.revoke(s, key_id, now=1.0)
    print("committed", flush=True)
    await storage.close()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def make(storage: Storage, wish: KeyWish = WISH) -> NewKey:
    """A key in the database."""
    async with storage.session() as s:
        return await keys.create(s, wish, pepper=PEPPER, now=NOW)


async def snapshot(storage: Storage) -> KeySnapshot:
    """All keys as they are now."""
    async with storage.reading() as s:
        return await load(s, PEPPER)


async def test_a_key_opens_with_its_scopes_and_tenant(storage: Storage) -> None:
    """The secret names its caller."""
    new = await make(storage, KeyWish("n", ("search",), tenant="pilot"))
    caller = (await snapshot(storage)).authenticate(new.secret, HERE, NOW)
    assert caller is not None
    assert (caller.key_id, caller.scopes, caller.tenant) == (new.key.id, {"search"}, "pilot")


async def test_the_secret_has_the_promised_shape(storage: Storage) -> None:
    """`dtr_`, eight characters of id, 32 random bytes in base64url."""
    new = await make(storage)
    assert len(new.secret) == 4 + 8 + 1 + 43
    assert new.secret.startswith(f"dtr_{new.key.id}_")


async def test_the_database_never_sees_a_secret(storage: Storage) -> None:
    """Only a keyed hash is stored."""
    new = await make(storage)
    async with storage.reading() as s:
        row = (await s.execute(select(tables.api_key))).one()
    assert new.secret not in repr(row)
    assert new.secret[13:] not in repr(row)
    assert row.hash == keys.digest(new.secret, PEPPER)


async def test_what_is_not_the_secret_opens_nothing(storage: Storage) -> None:
    """A wrong, cut, empty, foreign or unreadable secret is refused without an error."""
    new = await make(storage)
    known = await snapshot(storage)
    other = await make(storage)
    wrong = [
        new.secret[:-1], f"{new.secret}x", "", "dtr_", "x" * 5000, f"{new.secret[:13]}{'A' * 43}",
        other.secret, new.secret.replace("dtr_", "xxx_"), "dtr_\ud800", f" {new.secret}",
    ]  # fmt: skip
    assert [known.authenticate(text, HERE, NOW) for text in wrong] == [None] * len(wrong)


async def test_another_pepper_opens_nothing(storage: Storage) -> None:
    """The table without the service's secret is useless."""
    new = await make(storage)
    async with storage.reading() as s:
        assert (await load(s, b"q" * 32)).authenticate(new.secret, HERE, NOW) is None


async def test_an_expired_key_opens_nothing(storage: Storage) -> None:
    """A key ends at its moment, without any writing."""
    new = await make(storage, KeyWish("n", ("search",), expires_at=NOW + 10))
    known = await snapshot(storage)
    assert known.authenticate(new.secret, HERE, NOW + 9.9)
    assert known.authenticate(new.secret, HERE, NOW + 10) is None


@pytest.mark.parametrize(
    ("ip", "opens"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("192.0.2.7", True),
        ("2001:db8::5", True),
        ("11.1.2.3", False),
        ("192.0.2.8", False),
        ("2001:db9::5", False),
        (None, False),
        ("not an address", False),
    ],
)
async def test_a_key_opens_only_from_its_networks(
    storage: Storage, ip: str | None, opens: bool
) -> None:
    """Networks, single addresses, both families; an unknown address is refused."""
    allowed = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
    new = await make(storage, KeyWish("n", ("search",), allowed_ips=allowed))
    assert bool((await snapshot(storage)).authenticate(new.secret, ip, NOW)) is opens


@pytest.mark.parametrize(
    "wish",
    [
        KeyWish("n", ()),
        KeyWish("n", ("root",)),
        KeyWish("n", ("search",), allowed_ips=("10.0.0.0/99",)),
    ],
    ids=["no scope", "unknown scope", "no network"],
)
async def test_a_key_that_could_not_work_is_refused(storage: Storage, wish: KeyWish) -> None:
    """What would break at each request is refused when it is written."""
    with pytest.raises(Unprocessable):
        await make(storage, wish)
    new = await make(storage)
    with pytest.raises(Unprocessable):
        async with storage.session() as s:
            await keys.alter(s, new.key.id, wish)


async def test_altering_a_key_changes_what_it_may(storage: Storage) -> None:
    """New scopes and limits hold for the old secret."""
    new = await make(storage)
    wish = KeyWish("n", ("feedback",), rate_limit_per_minute=7, quota_per_day=9)
    async with storage.session() as s:
        altered = await keys.alter(s, new.key.id, wish)
    known = await snapshot(storage)
    caller = known.authenticate(new.secret, HERE, NOW)
    assert caller is not None
    assert caller.scopes == {"feedback"}
    assert known.key(new.key.id) == altered
    assert (altered.rate_limit_per_minute, altered.quota_per_day) == (7, 9)


async def test_a_revoked_key_stays_revoked_at_its_first_moment(storage: Storage) -> None:
    """A second revocation changes nothing, and nothing brings the key back."""
    new = await make(storage)
    for moment in (NOW + 1, NOW + 2):
        async with storage.session() as s:
            await keys.revoke(s, new.key.id, now=moment)
    known = await snapshot(storage)
    assert known.authenticate(new.secret, HERE, NOW) is None
    found = known.key(new.key.id)
    assert found is not None
    assert found.revoked_at == NOW + 1
    with pytest.raises(BusinessFailure):
        async with storage.session() as s:
            await keys.rotate(s, new.key.id, pepper=PEPPER, now=NOW + 3)


async def test_rotation_overlaps(storage: Storage) -> None:
    """The old secret opens until the overlap ends, the new one at once and with equal rights."""
    old = await make(storage, KeyWish("n", ("search",), tenant="t", quota_per_day=3))
    async with storage.session() as s:
        new = await keys.rotate(s, old.key.id, pepper=PEPPER, now=NOW, overlap_s=60)
    known = await snapshot(storage)
    assert known.authenticate(old.secret, HERE, NOW + 59)
    assert known.authenticate(old.secret, HERE, NOW + 60) is None
    caller = known.authenticate(new.secret, HERE, NOW + 60)
    assert caller is not None
    assert (caller.tenant, caller.scopes) == ("t", {"search"})
    assert (new.key.rotated_from, new.key.quota_per_day) == (old.key.id, 3)


async def test_rotation_never_lengthens_a_life(storage: Storage) -> None:
    """A key that ends in ten seconds does not get sixty by being rotated."""
    old = await make(storage, KeyWish("n", ("search",), expires_at=NOW + 10))
    async with storage.session() as s:
        await keys.rotate(s, old.key.id, pepper=PEPPER, now=NOW, overlap_s=60)
    assert (await snapshot(storage)).authenticate(old.secret, HERE, NOW + 11) is None


async def test_an_unknown_id_is_not_found(storage: Storage) -> None:
    """Every verb on a key that is not there says so."""
    async with storage.session() as s:
        with pytest.raises(NotFound):
            await keys.get(s, "nothing")
        with pytest.raises(NotFound):
            await keys.revoke(s, "nothing", now=NOW)
        with pytest.raises(NotFound):
            await keys.alter(s, "nothing", WISH)
        with pytest.raises(NotFound):
            await keys.rotate(s, "nothing", pepper=PEPPER, now=NOW)


async def test_use_is_counted_by_day(storage: Storage) -> None:
    """Counts add up, days are separate, and a key that is gone is left out."""
    key_id = (await make(storage)).key.id
    for day, count in (("2027-01-01", 2), ("2027-01-01", 3), ("2027-01-02", 1)):
        async with storage.session() as s:
            await keys.count_use(s, {key_id: count, "nothing": 9}, day=day, now=NOW + count)
    async with storage.reading() as s:
        assert await keys.usage(s, key_id) == [("2027-01-02", 1), ("2027-01-01", 5)]
        assert await keys.used_on(s, "2027-01-01") == {key_id: 5}
        assert (await keys.get(s, key_id)).last_used_at == NOW + 1


async def test_counting_use_does_not_reload_keys(storage: Storage) -> None:
    """Only a change of rights moves the topic."""
    new = await make(storage)
    watch = await changes.open_watch(storage.url)
    before = watch.version(keys.TOPIC)
    async with storage.session() as s:
        await keys.count_use(s, {new.key.id: 1}, day="2027-01-01", now=NOW)
    await watch.refresh()
    assert watch.version(keys.TOPIC) == before
    await watch.close()


async def test_keys_are_listed_newest_first(storage: Storage) -> None:
    """The list shows names and no secret."""
    async with storage.session() as s:
        for number in range(3):
            wish = KeyWish(str(number), ("search",))
            await keys.create(s, wish, pepper=PEPPER, now=NOW + number)
        assert [key.name for key in await keys.every(s)] == ["2", "1", "0"]


async def test_the_first_key_is_made_once(storage: Storage) -> None:
    """A second start, even after the key was deleted, makes none."""
    async with storage.session() as s:
        first = await keys.create_first(s, pepper=PEPPER, now=NOW)
    assert first is not None
    assert first.key.scopes == ("admin",)
    async with storage.session() as s:
        assert await keys.create_first(s, pepper=PEPPER, now=NOW) is None
        await s.execute(tables.api_key.delete())
        assert await keys.create_first(s, pepper=PEPPER, now=NOW) is None


async def test_no_first_key_beside_a_key_that_exists(storage: Storage) -> None:
    """Whoever made keys by hand is not given another administrator."""
    await make(storage)
    async with storage.session() as s:
        assert await keys.create_first(s, pepper=PEPPER, now=NOW) is None


async def test_a_first_key_that_was_rolled_back_can_be_made_again(storage: Storage) -> None:
    """The claim belongs to the same transaction as the key."""
    with pytest.raises(KeyError):
        async with storage.session() as s:
            await keys.create_first(s, pepper=PEPPER, now=NOW)
            raise KeyError
    async with storage.session() as s:
        assert await keys.create_first(s, pepper=PEPPER, now=NOW) is not None


def test_racing_processes_make_one_first_key(database_url: str) -> None:
    """Of several first starts at the same moment exactly one gets the key."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-W", "error", "-c", FIRST_KEY_PROCESS, database_url]
    racing = [
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        for _ in range(RACERS)
    ]
    with ThreadPoolExecutor(RACERS) as pool:
        said = list(pool.map(lambda process: process.communicate("go\n", timeout=60)[0], racing))
    assert sorted(text[:4] for text in said) == ["dtr_"] + ["none"] * (RACERS - 1)


async def test_a_key_revoked_in_another_process_is_refused_at_the_next_check(
    database_url: str, storage: Storage
) -> None:
    """Process A commits the revocation; the next request in process B is refused."""
    new = await make(storage)
    watch = await changes.open_watch(storage.url)
    ring = KeyRing(storage.reading, watch, PEPPER)
    assert (await ring.current()).authenticate(new.secret, HERE, NOW)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", REVOKING_PROCESS, database_url, new.key.id),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    await process.stdout.readline()
    if not storage.embedded:
        # A notification is on its way; one round trip is the most it can need.
        await watch.refresh()
    assert (await ring.current()).authenticate(new.secret, HERE, NOW) is None
    await process.communicate()
    await watch.close()


async def test_many_requests_reload_once(storage: Storage) -> None:
    """A change is read once, and every request that started after it sees it."""
    new = await make(storage)
    watch = await changes.open_watch(storage.url)
    reads = 0

    def reading(*, within_s):
        nonlocal reads
        reads += 1
        return storage.reading(within_s=within_s)

    ring = KeyRing(reading, watch, PEPPER)
    found = await asyncio.gather(*(ring.current() for _ in range(20)))
    assert all(known.authenticate(new.secret, HERE, NOW) for known in found)
    assert reads == 1
    async with storage.session() as s:
        await keys.revoke(s, new.key.id, now=NOW)
    await ring.refresh()
    found = await asyncio.gather(*(ring.current() for _ in range(20)))
    assert not any(known.authenticate(new.secret, HERE, NOW) for known in found)
    assert reads == 2
    await watch.close()


async def test_keys_are_read_before_anybody_asks(storage: Storage) -> None:
    """So an outage finds even an idle worker able to tell who calls."""
    watch = await changes.open_watch(storage.url)
    ring = KeyRing(storage.reading, watch, PEPPER)
    following = asyncio.create_task(ring.follow())
    new = await make(storage)
    await watch.refresh()
    async with asyncio.timeout(10):
        while ring.known.key(new.key.id) is None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await watch.close()
