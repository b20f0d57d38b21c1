"""What the doors' consoles show of somebody's data: all of it, and nothing acts on a terminal."""

import io

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wap.cli.app import PlainConsole, console, messages

CLEARS = "\x1b[2J\x1b]0;owned\x07 \x9b2J \u202egpj.exe"


@pytest.fixture
def terminal():
    return PlainConsole(
        file=io.StringIO(), markup=False, highlight=False, force_terminal=True, width=200
    )


def _nested(text: str) -> Table:
    grid = Table.grid()
    grid.add_row("reason", Text(text))
    return grid


@pytest.mark.parametrize("shape", [str, Text, _nested], ids=["str", "Text", "Table"])
def test_control_characters_of_data_are_written_out(terminal, shape):
    terminal.print(shape(CLEARS), style="bold")
    told = terminal.file.getvalue()
    assert "\\u001b[2J" in told
    for acting in ("\x1b[2J", "\x1b]", "\x9b", "\u202e"):
        assert acting not in told
    assert "\x1b[1m" in told  # the door's own


def test_a_display_is_still_redrawn_in_place(terminal):
    with Live(Text("one"), console=terminal, auto_refresh=False) as live:
        live.update(Text("two\nlines"), refresh=True)
    assert "\x1b[2K" in terminal.file.getvalue()


def test_lines_and_tabs_stay(terminal):
    terminal.print(Text("a\tb\nc"))
    assert "\\u" not in terminal.file.getvalue()


def test_all_doors_speak_through_such_consoles():
    assert {type(console), type(messages)} == {PlainConsole}
