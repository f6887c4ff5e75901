"""Pages from the table: reading ends where a page is full."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.storage.base import PAGE_BYTES, Page, Range, Store
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from chat.storage.sqlite import SqliteStore
from tests.chat.storage.files import opened
from tests.support import message, seqs


@asynccontextmanager
async def folded(path: Path, texts: Sequence[str]) -> AsyncIterator[SqliteStore]:
    """A store with all messages in its table and none in memory."""
    async with opened(path) as store:
        await fill(store, texts)
    async with opened(path) as store:
        yield store


async def fill(store: Store, texts: Sequence[str]) -> None:
    await store.append([message(content=text, key=str(n)) for n, text in enumerate(texts)])


spans = st.one_of(
    st.builds(Range, st.integers(1, 90), before_seq=st.none() | st.integers(1, 95)),
    st.builds(
        Range,
        st.integers(1, 90),
        before_seq=st.none() | st.integers(1, 95),
        after_seq=st.integers(0, 95),
    ),
)
long_texts = st.sampled_from(
    [
        "x" * (PAGE_BYTES - 1),
        "x" * PAGE_BYTES,
        "x" * (PAGE_BYTES + 1),
        "x" * (PAGE_BYTES // 3),
        "€" * (PAGE_BYTES // 3),
        "€" * (PAGE_BYTES // 9),
    ]
)


def shown(page: Page) -> tuple[list[tuple[int, str]], bool]:
    return [(each.seq, each.content) for each in page.messages], page.has_more


@settings(max_examples=40)
@given(
    st.integers(0, 90),
    st.dictionaries(st.integers(0, 89), long_texts, max_size=6),
    st.lists(spans, min_size=1, max_size=8),
)
@example(90, {0: "x" * PAGE_BYTES, 89: "x" * PAGE_BYTES}, [Range(90), Range(90, after_seq=0)])
def test_pages_match_the_memory_store(
    number: int, long: dict[int, str], spans: list[Range]
) -> None:
    async def compare() -> None:
        texts = [long.get(index, "short") for index in range(number)]
        memory = MemoryStore(Listener())
        await fill(memory, texts)
        with TemporaryDirectory() as folder:
            async with folded(Path(folder) / "chat.db", texts) as store:
                for span in spans:
                    found = await store.history("room", span)
                    assert shown(found) == shown(await memory.history("room", span))

    asyncio.run(compare())


async def test_messages_beyond_the_page_are_not_read(tmp_path: Path) -> None:
    """A replay asks for 500 messages; of 16 KB each, a page holds 32."""
    spans = (
        (Range(500), list(range(470, 502))),
        (Range(500, after_seq=0), list(range(1, 33))),
    )
    async with folded(tmp_path / "chat.db", ["x" * 16_384] * 501) as store:
        for span, expected in spans:
            tracemalloc.start()
            try:
                page = await store.history("room", span)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert (seqs(page.messages), page.has_more) == (expected, True)
            # orjson takes 13 times its input; all messages are 8 MiB.
            assert peak < 20 * PAGE_BYTES
