"""The project's own Temporal server: shared, stopped by the last user, found again after a kill."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wap import runtime
from wap.errors import TemporalUnavailableError

USE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from wap import runtime
with runtime.embedded(Path(sys.argv[1])) as server:
    print(server.address, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

USE_AND_DIE_AT_STATEMENT = """
import ast, inspect, os, signal, sys
from pathlib import Path
from wap import runtime

source, first = inspect.getsourcelines(runtime._start)
body = ast.walk(ast.parse("".join(source)))
statements = {first - 1 + n.lineno for n in body if isinstance(n, ast.stmt)}
left = int(sys.argv[2])

def lines(frame, event, _):
    global left
    if event == "line" and frame.f_lineno in statements:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.Signals(int(sys.argv[3])))
    return lines

sys.settrace(lambda frame, *_: lines if frame.f_code is runtime._start.__code__ else None)
with runtime.embedded(Path(sys.argv[1])):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path):
    folder = tmp_path / "temporal"
    yield folder
    server = runtime.running(folder) if folder.exists() else None
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def test_started_when_needed_and_stopped_by_the_last_user(folder):
    with runtime.embedded(folder) as first:
        assert answers(first.address)
        assert first.address.startswith("127.0.0.1:")
        with runtime.embedded(folder) as second:
            assert second == first
        assert runtime.running(folder) == first
    assert runtime.running(folder) is None
    assert not answers(first.address)


def test_users_that_come_at_once_share_one_server(folder):
    def use(_: int) -> runtime.Server:
        with runtime.embedded(folder) as server:
            assert answers(server.address)
            return server

    with runtime.embedded(folder) as held, ThreadPoolExecutor(6) as threads:
        assert set(threads.map(use, range(12))) == {held}
    assert runtime.running(folder) is None


def test_server_of_a_killed_user_is_found_and_used_again(folder):
    done = subprocess.run(
        [sys.executable, "-c", USE_AND_DIE, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = runtime.running(folder)
    assert left is not None
    assert left.address == done.stdout.strip()
    with runtime.embedded(folder) as again:
        assert again == left
    assert runtime.running(folder) is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_starter_that_dies_at_any_statement_leaves_no_server_unknown(folder, number):
    for statement in range(1 if number == signal.SIGKILL else 2, 100, 2):
        arguments = [str(folder), str(statement), str(int(number))]
        died = subprocess.run(
            [sys.executable, "-c", USE_AND_DIE_AT_STATEMENT, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if number == signal.SIGINT:
            assert runtime.running(folder) is None, "an interrupted starter stops what it started"
        with runtime.embedded(folder) as server:
            assert answers(server.address)
        assert runtime.running(folder) is None
        if died.returncode == 0:
            break
    assert died.returncode == 0, died.stderr
    assert statement > 8


def test_killed_server_is_replaced_on_the_same_database(folder):
    with runtime.embedded(folder) as first:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        os.waitpid(first.pid, 0)
        assert runtime.running(folder) is None
        with runtime.embedded(folder) as second:
            assert second.pid != first.pid
            assert answers(second.address)


def test_program_that_does_not_start_says_why(folder, tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "temporal"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with pytest.raises(TemporalUnavailableError, match="no such flag"), runtime.embedded(folder):
        pass
    assert runtime.running(folder) is None


#: A ``temporal`` that is overtaken: another program listens at its port before it does, once.
OVERTAKEN = """#!{python}
import os, socket, subprocess, sys
from pathlib import Path
marker, arguments = Path({marker!r}), sys.argv[1:]
if arguments[0] == "server" and not marker.exists():
    port = arguments[arguments.index("--port") + 1]
    marker.write_text(port)
    ready, done = os.pipe()
    listener = subprocess.Popen(
        [sys.executable, "-c", "import os, socket, sys, time;"
         "s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
         "os.write(int(sys.argv[2]), b'1'); os.close(int(sys.argv[2])); time.sleep(60)",
         port, str(done)], pass_fds=[done])
    os.read(ready, 1)
    marker.with_suffix(".pid").write_text(str(listener.pid))
os.execv({real!r}, [{real!r}, *arguments])
"""


def test_a_port_that_another_program_took_first_is_left_to_it(folder, tmp_path, monkeypatch):
    marker, real = tmp_path / "taken", runtime.binary()
    overtaken = tmp_path / "bin" / "temporal"
    overtaken.parent.mkdir()
    overtaken.write_text(OVERTAKEN.format(python=sys.executable, marker=str(marker), real=real))
    overtaken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{overtaken.parent}:{os.environ['PATH']}")
    try:
        with runtime.embedded(folder) as server:
            assert answers(server.address)
            assert not server.address.endswith(f":{marker.read_text()}")
    finally:
        os.kill(int(marker.with_suffix(".pid").read_text()), signal.SIGKILL)
