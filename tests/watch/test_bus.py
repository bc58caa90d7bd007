"""The event bus: order, gaps, and subscribers that misbehave."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marianne_core.model.errors import InputError
from marianne_core.model.events import Event
from marianne_core.watch.bus import GAP, MAX_FAILURES, EventBus, EventStream, Subscription, of_job


def events(count: int, job: str = "job", start: int = 1) -> list[Event]:
    return [Event(f"e{n}", job, 1, timestamp=float(n)) for n in range(start, start + count)]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def rest(subscription: Subscription) -> list[Event]:
    return [event async for event in subscription]


async def test_events_come_in_order_and_the_stream_ends_after_them() -> None:
    bus = EventBus()
    first, second = bus.subscribe(), bus.subscribe()
    sent = events(5)
    for event in sent:
        bus.publish(event)
    bus.close()
    assert await rest(first) == sent
    assert await rest(second) == sent
    assert bus.subscribers == 0


async def test_a_waiting_reader_is_woken() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    reading = asyncio.ensure_future(anext(subscription))
    await turns()
    assert not reading.done()
    (event,) = events(1)
    bus.publish(event)
    assert await reading == event


async def test_a_cancelled_reader_loses_nothing() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    reading = asyncio.ensure_future(anext(subscription))
    await turns()
    bus.publish(events(1)[0])
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert (await anext(subscription)).event == "e1"


async def test_a_slow_reader_gets_the_newest_and_the_size_of_the_gap() -> None:
    bus = EventBus(max_queue_size=3)
    slow, other = bus.subscribe(), bus.subscribe(lambda event: event.event == "e1")
    for event in events(10):
        bus.publish(event)
    gap = await anext(slow)
    assert gap.event == GAP
    assert gap.data["dropped"] == 7
    assert "7 events" in gap.data["reason"]
    assert gap.timestamp == 7.0
    assert [(await anext(slow)).event for _ in range(3)] == ["e8", "e9", "e10"]
    assert slow.dropped == 7
    assert other.dropped == 0
    assert (await anext(other)).event == "e1"


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.booleans(), max_size=60), limit=st.integers(1, 5))
def test_read_and_dropped_together_are_all_events(steps: list[bool], limit: int) -> None:
    async def scenario() -> None:
        bus = EventBus(max_queue_size=limit)
        subscription = bus.subscribe()
        published = 0
        seen: list[Event] = []
        for publish in steps:
            if publish:
                published += 1
                bus.publish(Event("e", timestamp=float(published)))
            elif published > len(seen):
                reading = asyncio.ensure_future(anext(subscription))
                await turns(2)
                if reading.done():
                    seen.append(reading.result())
                else:
                    reading.cancel()
        bus.close()
        seen += await rest(subscription)
        kept = [event.timestamp for event in seen if event.event != GAP]
        dropped = sum(event.data["dropped"] for event in seen if event.event == GAP)
        assert kept == sorted(set(kept))
        assert len(kept) + dropped == published
        assert subscription.dropped == dropped

    asyncio.run(scenario())


async def test_aclose_unsubscribes_and_wakes_the_reader() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    assert isinstance(subscription, EventStream)
    reading = asyncio.ensure_future(anext(subscription))
    await turns()
    await subscription.aclose()
    await subscription.aclose()
    with pytest.raises(StopAsyncIteration):
        await reading
    assert bus.subscribers == 0
    bus.publish(events(1)[0])
    assert await rest(subscription) == []


async def test_subscribing_to_a_closed_bus_gives_an_ended_stream() -> None:
    bus = EventBus()
    bus.close()
    bus.close()
    assert await rest(bus.subscribe()) == []
    assert bus.subscribe_callback(lambda event: None) > 0
    assert bus.subscribers == 0


async def test_callbacks_are_called_in_order_and_not_inside_publish() -> None:
    bus = EventBus()
    seen: list[str] = []
    number = bus.subscribe_callback(
        lambda event: seen.append(event.event), lambda event: event.event != "e2"
    )
    for event in events(3):
        bus.publish(event)
    assert seen == []
    await turns()
    assert seen == ["e1", "e3"]
    bus.publish(events(1, start=4)[0])
    assert bus.unsubscribe(number)
    assert not bus.unsubscribe(number)
    await turns()
    assert seen == ["e1", "e3"]


async def test_a_callback_may_publish() -> None:
    bus = EventBus()
    seen = bus.subscribe()

    def answer(event: Event) -> None:
        if event.event == "e1":
            bus.publish(Event("answer"))

    bus.subscribe_callback(answer)
    for event in events(2):
        bus.publish(event)
    await turns()
    bus.close()
    assert [event.event for event in await rest(seen)] == ["e1", "e2", "answer"]


async def test_a_callback_that_was_too_slow_gets_the_gap() -> None:
    bus = EventBus(max_queue_size=2)
    seen: list[str] = []
    bus.subscribe_callback(lambda event: seen.append(event.event))
    for event in events(5):
        bus.publish(event)
    await turns()
    assert seen == [GAP, "e4", "e5"]


async def test_callbacks_get_what_is_queued_when_the_bus_closes() -> None:
    bus = EventBus()
    seen: list[str] = []
    bus.subscribe_callback(lambda event: seen.append(event.event))
    for event in events(200):
        bus.publish(event)
    bus.close()
    await turns(10)
    assert len(seen) == 200


async def test_a_failing_callback_harms_nobody_and_is_switched_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus()
    good = bus.subscribe()
    calls: list[str] = []

    def bad(event: Event) -> None:
        calls.append(event.event)
        raise RuntimeError("broken subscriber")

    bus.subscribe_callback(bad)
    with caplog.at_level(logging.ERROR):
        for event in events(MAX_FAILURES + 5):
            bus.publish(event)
        await turns()
    assert len(calls) == MAX_FAILURES
    assert bus.subscribers == 1
    messages = [record.message for record in caplog.records]
    assert messages.count("bus.subscriber_failed") == MAX_FAILURES
    assert messages[-1] == "bus.subscriber_disabled"
    bus.close()
    assert len(await rest(good)) == MAX_FAILURES + 5


async def test_only_failures_in_a_row_count() -> None:
    bus = EventBus()
    calls = 0

    def mostly_bad(event: Event) -> None:
        nonlocal calls
        calls += 1
        if calls % MAX_FAILURES:
            raise RuntimeError("broken subscriber")

    bus.subscribe_callback(mostly_bad)
    for event in events(5 * MAX_FAILURES):
        bus.publish(event)
    await turns()
    assert calls == 5 * MAX_FAILURES
    assert bus.subscribers == 1


async def test_a_failing_filter_means_no_and_is_switched_off() -> None:
    bus = EventBus()

    def bad(event: Event) -> bool:
        raise RuntimeError("broken filter")

    subscription = bus.subscribe(bad)
    for event in events(MAX_FAILURES):
        bus.publish(event)
    assert bus.subscribers == 0
    assert await rest(subscription) == []


async def test_filters_by_job_and_run() -> None:
    bus = EventBus()
    mine, second = bus.subscribe(of_job("mine")), bus.subscribe(of_job("mine#2"))
    everything = bus.subscribe(of_job(None))
    for job, run in [("mine", 1), ("other", 2), ("mine", 2)]:
        bus.publish(Event("e", job, run))
    bus.close()
    assert [event.run for event in await rest(mine)] == [1, 2]
    assert [event.run for event in await rest(second)] == [2]
    assert len(await rest(everything)) == 3
    with pytest.raises(InputError):
        of_job("#2")


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        EventBus(max_queue_size=0)
