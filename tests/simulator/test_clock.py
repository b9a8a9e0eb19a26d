"""The clock: frozen, scaled, advanced."""

from __future__ import annotations

import pytest

from wxmp.simulator import Clock, World


class Source:
    """Real seconds under the test's control."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the present second."""
        return self.now


def test_frozen_clock_stands_still_until_advanced():
    """A frozen clock shows the same time for ever, plus what it was advanced."""
    clock = Clock.frozen(50.0)
    assert clock.now() == clock.now() == 50.0
    assert clock.advance(7.5) == 57.5 == clock.now()


def test_scaled_clock_runs_as_fast_as_told():
    """Sixty simulated seconds pass in one real second at speed 60."""
    source = Source()
    clock = Clock(start=0.0, speed=60.0, source=source)
    source.now += 2.0
    assert clock.now() == pytest.approx(120.0)


def test_changing_the_speed_does_not_jump():
    """A new speed counts from now on; the time shown before stays."""
    source = Source()
    clock = Clock(start=0.0, speed=10.0, source=source)
    source.now += 1.0
    clock.set_speed(2.0)
    assert clock.now() == pytest.approx(10.0)
    source.now += 1.0
    assert clock.now() == pytest.approx(12.0)
    clock.freeze()
    source.now += 100.0
    assert clock.now() == pytest.approx(12.0)


def test_time_does_not_run_backwards():
    """Neither a negative speed nor a negative advance is taken."""
    with pytest.raises(ValueError, match="speed"):
        Clock(speed=-1.0)
    with pytest.raises(ValueError, match="seconds"):
        Clock.frozen().advance(-1.0)


def test_advance_fires_events_in_order_at_their_own_time(world: World):
    """Events on the way see the moment they were due, in order, not the end of the journey."""
    started = world.now()
    world.outsider(100.0, channel="plain")
    world.outsider(70.0, channel="stable", how="forced")
    world.advance(250.0)
    minted = sorted((token.minted_at - started, token.channel) for token in world.account.tokens.values())
    assert minted == [(70.0, "stable"), (100.0, "plain"), (140.0, "stable"), (200.0, "plain"), (210.0, "stable")]
    assert world.now() == started + 250.0


def test_late_events_fire_before_the_next_request_at_their_own_time(desk):
    """On a running clock nobody advances: a request first lets happen what was due, at the time it was due."""
    desk.world.outsider(100.0, channel="plain")
    desk.world.clock.set(desk.world.now() + 150.0)
    desk.use("nothing")
    (token,) = desk.account.tokens.values()
    assert token.minted_at == desk.world.now() - 50.0


def test_jumps_fire_nothing_by_themselves(world: World):
    """A wrong clock jumps either way; what was due on the way happens with the next look, at its own time."""
    started = world.now()
    world.outsider(100.0, channel="plain")
    assert world.clock.jump(250.0) == started + 250.0
    assert world.state.outsider_fetches == 0
    world.run_due()
    assert world.state.outsider_fetches == 2
    assert world.clock.jump(-200.0) == started + 50.0
    world.run_due()
    assert world.state.outsider_fetches == 2


def test_jump_inside_an_advance_leaves_the_rest_of_the_way_as_long():
    """An event that moves the clock does not change how far somebody advances after it."""

    class Jumper:
        due: float | None = 10.0

        def next_due(self) -> float | None:
            return self.due

        def run_due(self) -> int:
            if self.due is None or clock.now() < self.due:
                return 0
            self.due = None
            clock.jump(jump)
            return 1

    for jump in (-4.0, 4.0):
        clock = Clock.frozen(0.0)
        clock.attach(Jumper())
        assert clock.advance(30.0) == 30.0 + jump


@pytest.mark.parametrize(
    ("clock", "mode"),
    [
        (Clock.real(), "real"),
        (Clock(start=1000.0), "moved"),
        (Clock.scaled(60), "scaled"),
        (Clock.frozen(), "frozen"),
    ],
)
def test_mode_says_what_is_shown(clock: Clock, mode: str):
    """A clock is real, moved to another time, scaled, or frozen."""
    assert clock.mode == mode
    clock.set(1.0)
    assert clock.mode == ("moved" if mode == "real" else mode)
