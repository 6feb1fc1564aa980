"""What is worth telling, how often, and what of it a terminal gets."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tui_trainer.contracts.advice import Advice, Evidence
from tui_trainer.contracts.notice import OCCASIONS, Notice, NotifySettings
from tui_trainer.notify import terminal_channel
from tui_trainer.notify.notice_rules import CRASH_CONFIRM_SECONDS, NoticeRules, SeenRun, end_notices
from tui_trainer.notify.rate_limit import RateLimiter, combine
from tui_trainer.notify.webhook_channel import shown_address
from tui_trainer.text import formats

STARTED_AT = 1000.0
RUN = SeenRun(
    path=Path("/runs/a"), run="a-id", name="a", status="training", step=40, total_steps=90,
    updated_at=990.0,
)  # fmt: skip


def advice(kind: Any = "divergence", id: str = "divergence-1", step: int = 40) -> Advice:
    return Advice(
        id=id, kind=kind, urgency="critical", status="raised", step=step, updated_step=step,
        learning_rate=None, suggested_lr=None, factor=None, reason="The loss rose.",
        evidence=Evidence(metric="loss", first_step=1, last_step=step), confidence=0.9,
    )  # fmt: skip


def kinds(notices: list[Notice]) -> list[str]:
    return [notice.kind for notice in notices]


class Watching:
    """A rule, and a clock that moves on by ten seconds with every look."""

    def __init__(self, *on: Any) -> None:
        self.rule = NoticeRules(on or OCCASIONS, STARTED_AT)
        self.now = STARTED_AT

    def sees(self, *runs: SeenRun) -> list[Notice]:
        self.now += 10
        return self.rule.check(runs, self.now)


@pytest.mark.parametrize(
    ("status", "kind", "phrase"),
    [
        ("completed", "finish", "a completed 90 steps"),
        ("early_stopped", "finish", "a stopped early at step 90: no better"),
        ("failed", "failure", "a failed at step 90: no more numbers"),
    ],
)
def test_an_end_gives_one_notice(status: str, kind: str, phrase: str) -> None:
    watching = Watching()
    assert not watching.sees(RUN)
    messages = {
        "completed": "completed 90 steps",
        "early_stopped": "no better",
        "failed": "no more numbers",
    }
    end = replace(RUN, status=status, step=90, updated_at=1015.0, message=messages[status])
    (notice,) = watching.sees(end)
    assert (notice.kind, notice.text, notice.path) == (kind, phrase, "/runs/a")
    assert not watching.sees(end)
    assert not watching.sees(replace(RUN, status="preparing", updated_at=1030.0))
    assert kinds(watching.sees(replace(end, updated_at=1045.0))) == [kind], "resumed, ended again"


def test_an_end_names_the_best_validation_loss() -> None:
    end = replace(RUN, status="completed", best_val_loss=1.25, loss=float("nan"))
    (notice,) = end_notices(end, OCCASIONS, 1.0)
    assert notice.text == "a completed; best val_loss 1.250"
    assert (notice.loss, notice.best_val_loss) == (None, 1.25)


def test_an_earlier_end_gives_no_notice() -> None:
    watching = Watching()
    for status in ("completed", "failed", "crashed", "cancelled"):
        run = replace(RUN, path=Path(f"/runs/{status}"), status=status)
        assert not watching.sees(run)
        assert not watching.sees(run)


def test_an_old_end_of_a_foreign_run_gives_no_notice() -> None:
    watching = Watching()
    foreign = replace(RUN, status="unknown", foreign=True)
    assert not watching.sees(foreign)
    assert not watching.sees(replace(foreign, status="failed"))
    live = replace(foreign, path=Path("/runs/b"), updated_at=STARTED_AT + 15)
    assert not watching.sees(live)
    assert kinds(watching.sees(replace(live, status="completed"))) == ["finish"]


def test_a_run_that_ends_before_it_is_observed_gives_a_notice() -> None:
    fresh = replace(RUN, status="failed", updated_at=STARTED_AT + 5, message="bad data")
    assert kinds(Watching().sees(fresh)) == ["failure"]


def test_a_stopped_run_gives_no_notice() -> None:
    watching = Watching()
    watching.sees(RUN)
    assert not watching.sees(replace(RUN, status="cancelled"))


def test_a_crash_gives_a_notice_once_it_is_confirmed() -> None:
    rule = NoticeRules(OCCASIONS, STARTED_AT)
    gone = replace(RUN, status="crashed", resume="resume it with: tui-trainer resume a")
    assert not rule.check([RUN], STARTED_AT + 1)
    assert not rule.check([gone], STARTED_AT + 2)
    assert rule.awaits_crash
    (notice,) = rule.check([gone], STARTED_AT + 2 + CRASH_CONFIRM_SECONDS)
    assert notice.text == (
        "a crashed: the training process ended unexpectedly at step 40 (killed, or out of "
        "memory?); resume it with: tui-trainer resume a"
    )
    assert not rule.awaits_crash
    assert not rule.check([gone], STARTED_AT + 9)


def test_a_run_that_was_cancelled_by_force_did_not_crash() -> None:
    rule = NoticeRules(OCCASIONS, STARTED_AT)
    rule.check([RUN], STARTED_AT + 1)
    assert not rule.check([replace(RUN, status="crashed")], STARTED_AT + 2)
    assert not rule.check([replace(RUN, status="cancelled")], STARTED_AT + 2.2)
    assert not rule.awaits_crash


def test_each_hang_gives_one_notice_also_an_earlier_one() -> None:
    watching = Watching()
    hung = replace(RUN, stalled=advice("stalled", "stalled-at-40"))
    (notice,) = watching.sees(hung)
    assert (notice.kind, notice.title) == ("hang", "a may hang")
    assert not watching.sees(hung)
    later = replace(RUN, step=60, updated_at=1100.0)
    assert not watching.sees(later)
    assert kinds(watching.sees(replace(later, stalled=hung.stalled))) == ["hang"]


def test_only_new_critical_advice_gives_a_notice() -> None:
    watching = Watching()
    first, second = advice(), advice("non_finite", "non_finite-2", 52)
    assert not watching.sees(replace(RUN, critical=(first,)))
    (notice,) = watching.sees(replace(RUN, critical=(first, second)))
    assert notice.text == "a: non finite at step 52. The loss rose."
    assert notice.advice == second
    assert not watching.sees(replace(RUN, critical=(second,)))


def test_advice_of_the_viewer_is_new_from_the_second_check_on() -> None:
    rule = NoticeRules(OCCASIONS, STARTED_AT)
    foreign = replace(RUN, status="unknown")
    rule.check([foreign], STARTED_AT)
    assert not rule.check_advice(foreign, [advice()], STARTED_AT)
    late = advice("loss_spike", "loss_spike-2", 60)
    mild = Advice(**{**{f: getattr(late, f) for f in late.__struct_fields__}, "urgency": "high"})
    assert not rule.check_advice(foreign, [advice(), mild], STARTED_AT)
    assert kinds(rule.check_advice(foreign, [advice(), late], STARTED_AT)) == ["critical"]


def test_only_the_chosen_events_give_notices() -> None:
    watching = Watching("finish")
    watching.sees(RUN)
    assert not watching.sees(replace(RUN, stalled=advice("stalled"), critical=(advice(),)))
    assert kinds(watching.sees(replace(RUN, status="completed"))) == ["finish"]
    assert not end_notices(replace(RUN, status="failed"), ["finish"], 1.0)
    assert kinds(end_notices(replace(RUN, status="failed"), ["crash"], 1.0)) == ["failure"]


def test_all_viewers_give_a_notice_the_same_key() -> None:
    end = replace(RUN, status="completed", step=90, updated_at=1015.25)
    one, other = Watching(), Watching()
    for watching in (one, other):
        watching.sees(RUN)
    other.now += 7
    assert one.sees(end)[0].key == other.sees(end)[0].key == end_notices(end, OCCASIONS, 5.0)[0].key


def notice(
    kind: Any, path: str = "/runs/a", text: str = "text", of: Advice | None = None
) -> Notice:
    return Notice(kind=kind, key=kind, time=0.0, title=kind, text=text, path=path, advice=of)


def test_the_first_notice_is_sent_at_once_and_the_following_ones_combined() -> None:
    limiter = RateLimiter(gap=30, repeat=600)
    assert limiter.wait(5.0) is None
    limiter.put(notice("finish", "/runs/a"), 5.0)
    assert limiter.wait(5.0) == 0
    assert len(limiter.pop_all(5.0)) == 1
    for path in ("/runs/b", "/runs/c"):
        limiter.put(notice("finish", path, f"{path} finished"), 6.0)
    limiter.put(notice("crash", "/runs/d", "d crashed"), 7.0)
    assert limiter.wait(7.0) == 28
    one = combine(limiter.pop_all(35.0))
    assert (one.kind, one.title) == ("crash", "crash, and 2 more"), "the worst leads"
    assert one.text == "d crashed · /runs/b finished · /runs/c finished"
    assert [other.path for other in one.also] == ["/runs/b", "/runs/c"]
    assert limiter.wait(35.0) is None


def test_the_same_advice_is_not_repeated() -> None:
    limiter = RateLimiter(gap=0, repeat=600)
    spike, other = advice("loss_spike", "loss_spike-1"), advice("divergence")
    taken = [
        limiter.put(notice("critical", "/runs/a", of=spike), 0.0),
        limiter.put(notice("critical", "/runs/a", of=spike), 100.0),
        limiter.put(notice("critical", "/runs/a", of=other), 100.0),
        limiter.put(notice("critical", "/runs/b", of=spike), 100.0),
        limiter.put(notice("hang"), 100.0),
        limiter.put(notice("hang"), 699.0),
        limiter.put(notice("crash"), 100.0),
        limiter.put(notice("crash"), 101.0),
        limiter.put(notice("critical", "/runs/a", of=spike), 601.0),
    ]
    assert taken == [True, False, True, True, True, False, True, True, True]


def test_many_notices_give_a_short_text_and_use_bounded_memory() -> None:
    limiter = RateLimiter(gap=30, repeat=0)
    for number in range(500):
        limiter.put(notice("finish", f"/runs/{number}", "x" * 300), 0.0)
    one = combine(limiter.pop_all(0.0))
    assert len(one.also) == 99
    assert len(one.text) < 1700


# -- the terminal --------------------------------------------------------------------------------

EVIL = notice("crash", text="a\x1b]52;c;evil\x07\nb\x9c\u202ec\x00; " + "long " * 200)


@pytest.mark.parametrize(
    ("environment", "osc", "expected"),
    [
        ({"TERM": "xterm-256color"}, "auto", "9 777"),
        ({"TERM": "xterm-kitty"}, "auto", "9"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "auto", "9"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, "auto", "777"),
        ({"TERM": "foot"}, "auto", "777"),
        ({"TERM": "xterm-kitty"}, "777", "777"),
        ({"TERM": "xterm"}, "off", ""),
        ({"TERM": "linux"}, "both", ""),
        ({}, "auto", ""),
    ],
)
def test_a_terminal_gets_the_sequence_that_it_supports(
    environment: dict[str, str], osc: Any, expected: str
) -> None:
    text = terminal_channel.sequences(notice("crash"), NotifySettings(osc=osc), environment)
    assert text[0] == "\x07"
    found = [part.split(";")[0] for part in text[1:].split("\x07") if part]
    assert " ".join(part.removeprefix("\x1b]") for part in found) == expected


def test_texts_of_a_run_cannot_control_the_terminal() -> None:
    settings = NotifySettings(bell=False, osc="both")
    text = terminal_channel.sequences(EVIL, settings, {"TERM": "xterm"})
    nine, seven, rest = text.split("\x07")
    assert rest == ""
    assert nine.startswith("\x1b]9;tui-trainer: a ]52;c;evil b")
    for part in (nine, seven):
        assert len(part) < 450
        body = part.removeprefix("\x1b]")
        assert not {c for c in body if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e"}
    title = "one; two"
    other = terminal_channel.sequences(
        Notice(kind="crash", key="", time=0, title=title, text="t"), settings, {"TERM": "foot"}
    )
    assert "\x1b]777;notify;one, two;t\x07" in other


def test_sequences_are_wrapped_for_a_multiplexer() -> None:
    settings = NotifySettings(osc="9", bell=False)
    one = notice("crash")
    inside = terminal_channel.sequences(
        one, settings, {"TERM": "tmux-256color", "TMUX": "/tmp/t,1,0"}
    )
    assert inside == "\x1bPtmux;\x1b\x1b]9;tui-trainer: text\x07\x1b\\"
    assert terminal_channel.sequences(one, settings, {"TERM": "screen"}).startswith("\x1bP\x1b]9;")


def test_addresses_are_shown_without_what_may_be_secret() -> None:
    shown = {
        "https://hooks.example.org/services/T0/B0/abc": "https://hooks.example.org/…",
        "http://ann:pw@host:8080?key=1": "http://host:8080/…",
        "https://[::1]:9000/": "https://[::1]:9000",
    }
    assert {address: shown_address(address) for address in shown} == shown


def test_plain_text_is_one_short_line() -> None:
    assert formats.one_line("a\r\n\tb  c") == "a b c"
    assert len(formats.one_line("x" * 999)) == 300
    for one in itertools.chain(range(32), range(127, 160)):
        assert formats.one_line(f"a{chr(one)}b") == "a b"
