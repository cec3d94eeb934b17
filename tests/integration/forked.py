"""`lowres-ssl` for a test of a script that types it a dozen times: a program that passes on what was typed to a process
that has loaded PyTorch already, and forks to do it. Killed, it takes the fork with it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parents[2]

CLIENT = """#!{python} -ES
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
    line.connect({address!r})
    typed = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]])
    socket.send_fds(line, [typed.encode()], [0, 1, 2])
    sys.exit(line.recv(1)[0])
"""


@contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """The folder with `lowres-ssl` in it, to go before others in PATH."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    address = Path(tempfile.mkdtemp()) / "line"  # the name of a socket has to be short
    (programs / "lowres-ssl").write_text(CLIENT.format(python=sys.executable, address=str(address)))
    (programs / "lowres-ssl").chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(address))
        listening.listen()
        command = [sys.executable, "-m", "tests.integration.forked", str(listening.fileno())]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}  # read once, when PyTorch is loaded
        server = subprocess.Popen(command, cwd=ROOT, env=alone, pass_fds=[listening.fileno()])
    try:
        yield programs
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(address.parent)


def serve(listening: socket.socket) -> None:
    import tests.hostile.torture.warm  # noqa: F401 - to be loaded before the forks

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    while True:
        line, _ = listening.accept()
        if not os.fork():
            listening.close()
            type_it(line)
        line.close()


def type_it(line: socket.socket) -> None:
    """What a fork does: the command, in the place, with the environment and the files of who typed it."""
    from lowres_ssl.cli import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    typed, files, *_ = socket.recv_fds(line, 2**20, 3)
    folder, environment, arguments = json.loads(typed)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    Thread(target=die_with, args=(line,), daemon=True).start()
    sys.argv = ["lowres-ssl", *arguments]
    code: object = 0
    try:
        main.main()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    line.send(bytes([code if isinstance(code, int) else 1]))
    os._exit(0)


def die_with(line: socket.socket) -> None:
    line.recv(1)  # nothing is sent: it ends when the other end does
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
