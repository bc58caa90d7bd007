"""Job ids: the stem belongs to the first file that used it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.runs import JobRef
from marianne_core.model.states import JobStatus
from marianne_core.remember.clearing import ClearFilter
from marianne_core.remember.job_ids import path_from_store, path_to_store, stem_of


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("/a/hello.yaml", "hello"),
        ("/a/hello.world.yml", "hello.world"),
        ("/a/my score.yaml", "my-score"),
        ("/a/with#3.yaml", "with-3"),
        ("/a/\x1b[31m.yaml", "[31m"),
        ("/a/###.yaml", "score"),
        ("/a/.yaml", ".yaml"),
        ("/a/grüße.yaml", "grüße"),
        (os.fsdecode(b"/a/\xff.yaml"), "score"),
    ],
)
def test_stem(path: str, stem: str) -> None:
    assert stem_of(path) == stem


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30))
def test_every_stem_can_be_typed_as_a_job(name: str) -> None:
    stem = stem_of(f"/a/{name}.yaml")
    assert JobRef.parse(stem) == JobRef(stem)
    assert stem.isprintable() or not stem.isascii()
    stem.encode()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=30))
def test_any_path_comes_back(path: bytes) -> None:
    text = os.fsdecode(path)
    assert path_from_store(path_to_store(text)) == text


async def test_the_first_file_owns_the_id(store, submit) -> None:
    first = await submit(path="/a/hello.yaml")
    second = await submit(path="/b/hello.yaml")
    third = await submit(path="/c/hello.yaml")
    again = await submit(path="/b/hello.yaml")
    assert [key.job_id for key in (first, second, third, again)] == [
        "hello",
        "hello-2",
        "hello-3",
        "hello-2",
    ]
    assert [key.run for key in (first, second, third, again)] == [1, 1, 1, 2]
    with store.reader() as reader:
        assert reader.job_id_for("/b/hello.yaml") == "hello-2"
        assert reader.job_id_for("/d/hello.yaml") == "hello-4"
        assert reader.owned_job_id("/d/hello.yaml") is None


async def test_an_id_that_looks_numbered_is_not_taken_twice(submit) -> None:
    assert (await submit(path="/a/hello-2.yaml")).job_id == "hello-2"
    assert (await submit(path="/a/hello.yaml")).job_id == "hello"
    assert (await submit(path="/b/hello.yaml")).job_id == "hello-3"


async def test_a_cleared_id_is_free_but_its_numbers_are_not_reused_before(store, submit) -> None:
    first = await submit(path="/a/hello.yaml", status=JobStatus.FAILED)
    second = await submit(path="/a/hello.yaml", status=JobStatus.FAILED)
    cleared = await store.journal.clear(ClearFilter(jobs=[JobRef("hello", 2)]), now=2000.0)
    assert cleared == [second.run_id]
    third = await submit(path="/a/hello.yaml", status=JobStatus.FAILED)
    assert third.run == 3
    assert third.run_id > second.run_id
    await store.journal.clear(ClearFilter(jobs=[JobRef("hello")]), now=2000.0)
    other = await submit(path="/b/hello.yaml")
    assert (other.job_id, other.run) == ("hello", 1)
    assert other.run_id > third.run_id > first.run_id


async def test_a_path_that_is_not_utf8(store, submit) -> None:
    path = os.fsdecode(b"/a/\xff\xfe/hello.yaml")
    key = await submit(path=path, workspace=os.fsdecode(b"/w\xff"))
    with store.reader() as reader:
        run = reader.run(key.run_id)
        assert (run.score_path, run.workspace) == (path, os.fsdecode(b"/w\xff"))
        assert reader.owned_job_id(path) == "hello"
    assert (await submit(path=path)).run == 2
