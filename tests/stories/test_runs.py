"""The list of runs and the form for a new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.strip import Strip
from textual.widgets import Button, Input

from tests.watch.runs.details.test_evaluation_lines import DATA, evaluation
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.store import atomic, jobs, paths
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.new_run.field_row import FieldRow
from tui_trainer.tui.runs.run_table import RunHeading, RunTable

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


async def test_list_distinguishes_runs(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("oldest", "completed", age=300)
    make_run("gone", alive=False, age=200)
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("2")
        await seen(app, "oldest", "completed", "gone", "crashed", "60 / 240", "2:05", "5 min")


async def test_cursor_stays_on_its_run_and_enter_opens_it(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    make_run("first", "completed", age=300)
    make_run("second", "completed", age=200)
    app = session()
    async with app.run_test(size=(120, 30)) as pilot:
        await seen(app, "second · completed")
        await pilot.press("2")
        await seen(app, "first")
        await pilot.press("j")
        make_run("third", "completed")
        await seen(app, "third")
        table = app.screen.query_one(RunTable)
        await becomes(app, lambda: table.cursor_row == 2)
        await pilot.press("enter")
        await seen(app, "first · completed", "loss 1.6")


async def test_a_run_deleted_from_the_disk_is_replaced_by_another(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    make_run("alpha", "completed", age=300)
    gone = make_run("beta", "completed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)):
        await seen(app, "beta · completed")
        shutil.rmtree(gone.path)
        await seen(app, "alpha · completed", "loss 1.6")


async def test_filter(make_run: MakeRun, session: Session, seen: Seen, text_of: Text) -> None:
    make_run("alpha", "completed", age=300)
    make_run("beta", "failed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "beta · failed")
        await pilot.press("2", "slash", *"comp")
        await seen(app, "alpha")
        await pilot.pause()
        assert "failed  " not in text_of(app)
        await pilot.press(*"zzz")
        await seen(app, "none of 2 runs", "compzzz")
        await pilot.press("escape")
        await seen(app, "alpha", "failed  ")


async def test_conditions_choose_runs_and_a_mistake_leaves_the_list_as_it_was(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text, becomes: Becomes
) -> None:
    make_run("alpha", "completed", steps=20, age=300)
    make_run("beta", "failed", steps=60, age=200)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "beta · failed")
        await pilot.press("2", "slash", *"step<")
        await seen(app, "step< needs a number, such as 2 or 1e-4", "alpha", "failed")
        await pilot.press(*"30")
        await seen(app, "1 of 2 runs", "alpha")
        assert "failed  " not in text_of(app) and "needs a number" not in text_of(app)
        await pilot.press("x", "enter")
        await seen(app, "not '30x'", "1 of 2 runs")
        await pilot.press("escape")
        await seen(app, "2 runs", "failed  ")
        await pilot.press("slash", *"lora.rnk=4")
        await seen(app, "did you mean lora.rank?")
        app.screen.query_one(Input).value = "lora.rank=16 -alpha"
        await seen(app, "1 of 2 runs", "beta")
        assert "completed" not in text_of(app)


async def test_sorting_by_keys_and_headings_keeps_the_cursor_on_its_run(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text, becomes: Becomes
) -> None:
    for name, steps in (("few", 20), ("many", 90), ("some", 60)):
        make_run(name, "completed", steps=steps, age=steps)
    app = session()

    def order() -> list[str]:
        columns = [line.split() for line in text_of(app).splitlines() if "completed" in line]
        return [line[0] for line in columns if line[0] in ("few", "many", "some")]

    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "few · completed")
        await pilot.press("2")
        await seen(app, "newest first")
        assert order() == ["few", "some", "many"]
        table = app.screen.query_one(RunTable)
        chosen = table.chosen
        await pilot.press("o", "o")
        await seen(app, "by step, highest first", "step↓")
        assert order() == ["many", "some", "few"] and table.chosen == chosen
        await pilot.press("O")
        await seen(app, "by step, lowest first", "step↑")
        assert order() == ["few", "some", "many"]
        await pilot.click(RunHeading, offset=(48, 0))
        await seen(app, "by loss, lowest first", "loss↑")
        assert order() == ["many", "some", "few"] and table.chosen == chosen
        make_run("new", "completed", steps=70)
        await becomes(app, lambda: "new" in text_of(app))
        assert table.chosen == chosen


async def test_marked_runs_are_compared(
    make_run: MakeRun, session: Session, seen: Seen, shown_notices: Text, text_of: Text
) -> None:
    make_run("alpha", "completed", steps=120, age=300)
    make_run("beta", "completed", steps=20, age=200)
    app = session()
    async with app.run_test(size=(80, 30)) as pilot:
        await seen(app, "beta · completed")
        await pilot.press("2")
        await seen(app, "newest first")
        await pilot.press("space")
        await seen(app, "1 marked")
        await pilot.press("space")
        await seen(app, "2 marked")
        assert [path.name for path in app.overlay] == ["beta-id", "alpha-id"]
        await pilot.press("v")
        await seen(app, "2 runs compared", "A beta", "B alpha", "best loss", "◆ 1.300 @ 120")
        await seen(app, "none of the recorded settings", "the same in every run")
        await pilot.press("escape", "u")
        await pilot.press("v")
        await pilot.pause()
        assert "2 runs compared" not in text_of(app)
        assert "mark at least two runs with space" in shown_notices(app)


async def test_two_hundred_runs_draw_only_what_is_in_view(
    runs_dir: Path, session: Session, seen: Seen, becomes: Becomes
) -> None:
    for number in range(200):
        line = f'{{"step": {number + 1}, "loss": {number + 1}.5}}\n'
        file = runs_dir / f"run-{number:03}.jsonl"
        file.write_text(line)
        os.utime(file, (1.7e9, 1.7e9))  # so that no age changes meanwhile
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await seen(app, "200 runs", "newest first")
        await becomes(app, lambda: not app.view.loading and app.view.read == 200)
        table = app.screen.query_one(RunTable)
        table.focus()
        await pilot.press("end")
        await pilot.pause(0.1)  # a last frame of the loading may still be due
        assert table.cursor_row == 199 and table.scroll_offset.y == 200 - table.size.height
        drawn: list[int] = []
        render = table.render_line

        def note(y: int) -> Strip:
            drawn.append(y)
            return render(y)

        table.render_line = note  # type: ignore[method-assign]
        app.screen.query_one(RunTable).screen.refresh_all()  # type: ignore[attr-defined]
        await pilot.pause()
        assert drawn == []  # nothing changed, so nothing is drawn again
        await pilot.press("up")
        await pilot.pause()
        assert set(drawn) <= {table.size.height - 1, table.size.height - 2}
        await pilot.press("home", "pagedown")
        assert table.cursor_row == table.size.height - 2


async def test_another_tools_run_is_read_only_and_lists_what_is_not_recorded(
    make_run: MakeRun,
    runs_dir: Path,
    session: Session,
    seen: Seen,
    shown_notices: Text,
    text_of: Text,
) -> None:
    make_run("mine", "training")
    file = runs_dir / "keras" / "train.csv"
    file.parent.mkdir()
    file.write_text("epoch,loss,val_loss\n0,2.5,2.6\n1,1.5,1.75\n")
    os.utime(file, (1.7e9, 1.7e9))  # long ended, so that the live run is shown first
    app = session(monitor_only=True)
    async with app.run_test(size=(120, 30)) as pilot:
        await seen(app, "mine · training")
        await pilot.press("2")
        await seen(app, "› mine", "Keras CSV", "accepts commands", "p pause")
        app.screen.query_one(RunTable).focus()
        table = app.screen.query_one(RunTable)
        await pilot.press("up" if table.cursor_row else "down")
        await pilot.pause()
        assert "p pause" not in text_of(app)  # the bottom line offers what is of use here
        await pilot.press("p")
        await pilot.pause()
        assert "cannot be controlled: it was written by Keras CSV" in shown_notices(app)
        await pilot.press("d")
        await seen(app, "read-only: written by Keras CSV", "not recorded", "1.750 at step")
        await pilot.press("4")
        await seen(app, "no checkpoints: Keras CSV does not record them")


async def test_details_have_a_page_for_each_kind_of_fact(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    run = make_run("alpha", "failed", message="out of memory", log="started\n\x1b[31mkilled\n")
    saved = run.checkpoints_dir / "step-00000020"
    saved.mkdir(parents=True)
    (saved / "adapter.bin").write_bytes(b"x" * 2048)
    checkpoints.seal(saved, 20)
    checkpoints.point_best(run, saved.name)
    (run.checkpoints_dir / "step-00000040").mkdir()
    atomic.write_json(run.data_file, DATA)
    atomic.write_json(run.evaluation_file, evaluation(["x\x1b", "y"], [[9, 1], [0, 12]]))
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "alpha · failed")
        await pilot.press("2", "d")
        await seen(app, "1 facts", "out of memory", "alpha-id")
        await pilot.press("tab")
        await seen(app, "causal-lm", "trust_remote_code")
        await pilot.press("3")
        await seen(app, "checkpoint step-00000060 saved")
        await pilot.press("4")
        await seen(app, "complete  best", "it has no readable manifest")
        await pilot.press("5")
        await seen(app, "no hardware samples")
        await pilot.press("6")
        await seen(app, "started", "killed")
        await pilot.press("7")
        await seen(app, "training examples", "1,234", "duplicate rows")
        await pilot.press("8")
        await seen(app, "step 40", "macro F1", "0.650", "x·", "true class ↓ predicted →")
        await pilot.press("9")
        await seen(app, "val_loss", "samples/s", "best", "1.696")
        await pilot.press("0")
        await seen(app, "no sample prompts: a job with", "[samples] prompts")
        await pilot.press("escape")
        await seen(app, "newest first")


async def test_checkpoints_have_their_epoch_scores_date_and_size(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    run = make_run("alpha", "completed")
    saved = run.checkpoints_dir / "step-00000020"
    saved.mkdir(parents=True)
    (saved / "adapter.bin").write_bytes(b"x" * 2048)
    checkpoints.seal(saved, 20)
    app = session()
    async with app.run_test(size=(200, 60)) as pilot:
        await seen(app, "alpha · completed")
        await pilot.press("d", "4")
        when = formats.moment(saved.stat().st_mtime)
        await seen(app, "0.667", "2.413", "2.463", when, "2.0 KiB", "complete")


async def test_sample_answers_are_shown_beside_those_of_the_evaluation_before(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text
) -> None:
    run = make_run("alpha", "completed")
    answers = {0: "I do not \x1b[31mknow", 20: "[red]Paris is in Spain", 40: "Paris is in France"}
    with atomic.appending(run.samples_file) as lines:
        for step, answer in answers.items():
            lines.append(
                SampleRecord(
                    step=step, epoch=step / 30, time=step, number=0, prompt="where is Paris?",
                    answer=answer, tokens=5, finish="end",
                )
            )  # fmt: skip
    app = session()
    for size in ((80, 24), (200, 60)):
        async with app.run_test(size=size) as pilot:
            await seen(app, "alpha · completed")
            await pilot.press("d", "0")
            await seen(app, "evaluation 3 of 3", "step 40", "before: step 20", "Paris is in France")
            await seen(app, "[red]Paris is in Spain", "5 tokens")
            await pilot.press("left_square_bracket")
            await seen(app, "evaluation 2 of 3", "before: step 0 (base)", "I do not ·[31mknow")
            await pilot.press("left_square_bracket", "left_square_bracket")
            await seen(app, "evaluation 1 of 3", "no evaluation before")
            await pilot.press("right_square_bracket")
            await seen(app, "evaluation 2 of 3")
            assert "France" not in text_of(app)
        app = session()


async def test_mouse_clicks_tabs_and_runs(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("alpha", "completed", age=300)
    make_run("beta", "completed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "beta · completed")
        await pilot.click("#top-bar", offset=(17, 0))
        await seen(app, "updated")
        await pilot.click(RunTable, offset=(8, 1))
        await pilot.click(RunTable, offset=(8, 1))
        await seen(app, "alpha · completed", "loss 1.6")


async def test_form_is_filled_with_the_example_and_starts_it(
    session: Session, seen: Seen, becomes: Becomes, runs_dir: Path
) -> None:
    training = jobs.load_job(paths.examples() / "lighthouse.toml").training
    warmup = f"warmup {training.warmup_steps} of {training.max_steps} steps"
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in", "n  train a model on my data")
        await pilot.press("n")
        await seen(
            app, "lighthouse", "cosine", "peak learning rate, reached after", "ready to start"
        )
        await seen(app, f"learning rate {formats.rate(training.learning_rate)}", warmup)
        await pilot.press("ctrl+s")
        await becomes(app, lambda: bool(vars(app.services.supervisor)["started"]))
        made = RunFolder(vars(app.services.supervisor)["started"][0])
        info = made.info()
        assert made.path.parent == runs_dir and info is not None and info.job.training == training
        await seen(app, "lighthouse · idle", "no steps yet")


async def test_errors_are_shown_beside_their_field(
    session: Session, seen: Seen, becomes: Becomes
) -> None:
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("5")
        await seen(app, "ready to start")
        rows = {row.field.key: row for row in app.screen.query(FieldRow)}
        rows["training.batch_size"].query_one(Input).value = "0"
        await seen(app, "needs a whole number of at least 1", "batch size: needs a whole")
        rows["training.learning_rate"].query_one(Input).value = "fast"
        await seen(app, "needs a number above 0", "(and 1 more)")
        rows["training.batch_size"].query_one(Input).value = "4"
        rows["training.learning_rate"].query_one(Input).value = "1e-3"
        rows["data.train"].query_one(Input).value = "/no/such/file.jsonl"
        await seen(app, "/no/such/file.jsonl does not exist")
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+s")
        assert not vars(app.services.supervisor)["started"]
        await pilot.press("escape")
        await seen(app, "no runs in")


async def test_letters_go_into_the_fields_of_the_form(session: Session, seen: Seen) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        await seen(app, "██▇")  # the schedule, as a line where its chart has no room
        await pilot.press("end", *"-q2")
        await seen(app, "lighthouse-q2")
