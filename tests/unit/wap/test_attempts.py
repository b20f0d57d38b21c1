"""What the worker logs of an error: where it and its causes came from, and no message of theirs."""

from __future__ import annotations

from wap.attempts import frames_of


def raised(exc: Exception) -> Exception:
    try:
        raise exc  # noqa: TRY301 - it wants a traceback
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught


def test_frames_of_an_error_and_its_causes_are_told_without_their_messages():
    outer = raised(ValueError("password=hunter2"))
    outer.__cause__ = raised(KeyError("hunter2"))
    told = frames_of(outer)
    assert told.count("in raised") == 2
    assert told.startswith("ValueError\n")
    assert "KeyError\n" in told
    assert "hunter2" not in told


def test_errors_that_are_each_others_context_come_to_an_end():
    one, other = raised(ValueError()), raised(KeyError())
    one.__cause__, other.__context__ = other, one
    assert frames_of(one).count("in raised") == 2
