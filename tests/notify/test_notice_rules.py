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
from tui_trainer.notify.notice_rules import CERTAIN_SECONDS, NoticeRules, SeenRun, ended
from tui_trainer.notify.rate_limit import RateLimiter, together
from tui_trainer.notify.webhook_channel import shown_address
from tui_trainer.text import formats

BEGAN = 1000.0
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
        self.rule = NoticeRules(on or OCCASIONS, BEGAN)
        self.now = BEGAN

    def sees(self, *runs: SeenRun) -> list[Notice]:
        self.now += 10
        return self.rule.take(runs, self.now)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("completed", "finish", "a completed 90 steps"),
        ("early_stopped", "finish", "a stopped early at step 90: no better"),
        ("failed", "failure", "a failed at step 90: no more numbers"),
    ],
)
def test_an_end_is_told_once(status: str, kind: str, words: str) -> None:
    watching = Watching()
    assert not watching.sees(RUN)
    messages = {
        "completed": "completed 90 steps",
        "early_stopped": "no better",
        "failed": "no more numbers",
    }
    end = replace(RUN, status=status, step=90, updated_at=1015.0, message=messages[status])
    (notice,) = watching.sees(end)
    assert (notice.kind, notice.text, notice.path) == (kind, words, "/runs/a")
    assert not watching.sees(end)
    assert not watching.sees(replace(RUN, status="preparing", updated_at=1030.0))
    assert kinds(watching.sees(replace(end, updated_at=1045.0))) == [kind], "resumed, ended again"


def test_an_end_says_how_good_it_was() -> None:
    end = replace(RUN, status="completed", best_val_loss=1.25, loss=float("nan"))
    (notice,) = ended(end, OCCASIONS, 1.0)
    assert notice.text == "a completed; best val_loss 1.25"
    assert (notice.loss, notice.best_val_loss) == (None, 1.25)


def test_what_had_ended_before_is_no_news() -> None:
    watching = Watching()
    for status in ("completed", "failed", "crashed", "cancelled"):
        run = replace(RUN, path=Path(f"/runs/{status}"), status=status)
        assert not watching.sees(run)
        assert not watching.sees(run)


def test_a_foreign_run_whose_end_is_found_out_late_is_no_news() -> None:
    watching = Watching()
    foreign = replace(RUN, status="unknown", foreign=True)
    assert not watching.sees(foreign)
    assert not watching.sees(replace(foreign, status="failed"))
    live = replace(foreign, path=Path("/runs/b"), updated_at=BEGAN + 15)
    assert not watching.sees(live)
    assert kinds(watching.sees(replace(live, status="completed"))) == ["finish"]


def test_a_run_that_came_and_went_between_two_looks_is_told() -> None:
    fresh = replace(RUN, status="failed", updated_at=BEGAN + 5, message="bad data")
    assert kinds(Watching().sees(fresh)) == ["failure"]


def test_who_stops_a_run_is_not_told() -> None:
    watching = Watching()
    watching.sees(RUN)
    assert not watching.sees(replace(RUN, status="cancelled"))


def test_a_crash_is_told_when_it_is_certain() -> None:
    rule = NoticeRules(OCCASIONS, BEGAN)
    gone = replace(RUN, status="crashed", resume="resume it with: tui-trainer resume a")
    assert not rule.take([RUN], BEGAN + 1)
    assert not rule.take([gone], BEGAN + 2)
    assert rule.waits
    (notice,) = rule.take([gone], BEGAN + 2 + CERTAIN_SECONDS)
    assert notice.text == (
        "a crashed: the training process ended unexpectedly at step 40 (killed, or out of memory?); "
        "resume it with: tui-trainer resume a"
    )
    assert not rule.waits
    assert not rule.take([gone], BEGAN + 9)


def test_a_run_that_was_cancelled_by_force_did_not_crash() -> None:
    rule = NoticeRules(OCCASIONS, BEGAN)
    rule.take([RUN], BEGAN + 1)
    assert not rule.take([replace(RUN, status="crashed")], BEGAN + 2)
    assert not rule.take([replace(RUN, status="cancelled")], BEGAN + 2.2)
    assert not rule.waits


def test_each_hang_is_told_once_even_one_that_was_there_before() -> None:
    watching = Watching()
    hung = replace(RUN, stalled=advice("stalled", "stalled-at-40"))
    (notice,) = watching.sees(hung)
    assert (notice.kind, notice.title) == ("hang", "a hangs?")
    assert not watching.sees(hung)
    later = replace(RUN, step=60, updated_at=1100.0)
    assert not watching.sees(later)
    assert kinds(watching.sees(replace(later, stalled=hung.stalled))) == ["hang"]


def test_critical_advice_is_told_once_but_not_what_stood_before() -> None:
    watching = Watching()
    first, second = advice(), advice("non_finite", "non_finite-2", 52)
    assert not watching.sees(replace(RUN, critical=(first,)))
    (notice,) = watching.sees(replace(RUN, critical=(first, second)))
    assert notice.text == "a: non finite at step 52. The loss rose."
    assert notice.advice == second
    assert not watching.sees(replace(RUN, critical=(second,)))


def test_what_the_viewer_found_itself_counts_from_its_second_judgement_on() -> None:
    rule = NoticeRules(OCCASIONS, BEGAN)
    foreign = replace(RUN, status="unknown")
    rule.take([foreign], BEGAN)
    assert not rule.judged(foreign, [advice()], BEGAN)
    late = advice("loss_spike", "loss_spike-2", 60)
    mild = Advice(**{**{f: getattr(late, f) for f in late.__struct_fields__}, "urgency": "high"})
    assert not rule.judged(foreign, [advice(), mild], BEGAN)
    assert kinds(rule.judged(foreign, [advice(), late], BEGAN)) == ["critical"]


def test_only_what_is_asked_for_is_told() -> None:
    watching = Watching("finish")
    watching.sees(RUN)
    assert not watching.sees(replace(RUN, stalled=advice("stalled"), critical=(advice(),)))
    assert kinds(watching.sees(replace(RUN, status="completed"))) == ["finish"]
    assert not ended(replace(RUN, status="failed"), ["finish"], 1.0)
    assert kinds(ended(replace(RUN, status="failed"), ["crash"], 1.0)) == ["failure"]


def test_everybody_who_looks_gives_a_notice_the_same_key() -> None:
    end = replace(RUN, status="completed", step=90, updated_at=1015.25)
    one, other = Watching(), Watching()
    for watching in (one, other):
        watching.sees(RUN)
    other.now += 7
    assert one.sees(end)[0].key == other.sees(end)[0].key == ended(end, OCCASIONS, 5.0)[0].key


def notice(
    kind: Any, path: str = "/runs/a", text: str = "text", of: Advice | None = None
) -> Notice:
    return Notice(kind=kind, key=kind, time=0.0, title=kind, text=text, path=path, advice=of)


def test_the_first_is_told_at_once_and_those_that_follow_as_one() -> None:
    limiter = RateLimiter(gap=30, repeat=600)
    assert limiter.wait(5.0) is None
    limiter.put(notice("finish", "/runs/a"), 5.0)
    assert limiter.wait(5.0) == 0
    assert len(limiter.take(5.0)) == 1
    for path in ("/runs/b", "/runs/c"):
        limiter.put(notice("finish", path, f"{path} finished"), 6.0)
    limiter.put(notice("crash", "/runs/d", "d crashed"), 7.0)
    assert limiter.wait(7.0) == 28
    one = together(limiter.take(35.0))
    assert (one.kind, one.title) == ("crash", "crash, and 2 more"), "the worst leads"
    assert one.text == "d crashed · /runs/b finished · /runs/c finished"
    assert [other.path for other in one.also] == ["/runs/b", "/runs/c"]
    assert limiter.wait(35.0) is None


def test_the_same_trouble_is_not_told_again_and_again() -> None:
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


def test_a_flood_leaves_a_short_text_and_bounded_memory() -> None:
    limiter = RateLimiter(gap=30, repeat=0)
    for number in range(500):
        limiter.put(notice("finish", f"/runs/{number}", "x" * 300), 0.0)
    one = together(limiter.take(0.0))
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
def test_a_terminal_gets_what_it_knows(
    environment: dict[str, str], osc: Any, expected: str
) -> None:
    text = terminal_channel.sequences(notice("crash"), NotifySettings(osc=osc), environment)
    assert text[0] == "\x07"
    found = [part.split(";")[0] for part in text[1:].split("\x07") if part]
    assert " ".join(part.removeprefix("\x1b]") for part in found) == expected


def test_nothing_of_a_run_steers_the_terminal() -> None:
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


def test_a_multiplexer_hands_it_on() -> None:
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
