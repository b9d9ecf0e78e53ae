# SPDX-License-Identifier: MIT
"""Blocking calls: each a function that is given an ExitStack for what it makes, and returns a function that blocks for ever.

Names are what the test prints. TRANSLATED: the library makes an error of its own of the failed call, which is what an interrupt
without a scope then raises.
"""

import asyncio
import ctypes
import fcntl
import http.client
import multiprocessing
import os
import pty
import select
import selectors
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import tty
import urllib.request

from tap import Skip

TRANSLATED = {
    "getaddrinfo": socket.gaierror,
    "sqlite_busy": sqlite3.OperationalError,
    "ssl_write": ssl.SSLError,  # 3.10 to 3.12
}
if sys.version_info < (3, 10):
    TRANSLATED["ssl_read_with_timeout"] = socket.timeout


def _pipe(stack):
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return read, write


def _full_pipe(stack):
    _, write = _pipe(stack)
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(write, True)
    return write


def _sockets(stack, kind=socket.SOCK_STREAM):
    return [stack.enter_context(one) for one in socket.socketpair(socket.AF_UNIX, kind)]


def _folder(stack):
    return stack.enter_context(tempfile.TemporaryDirectory())


def _fifo(stack):
    path = os.path.join(_folder(stack), "fifo")
    os.mkfifo(path)
    return path


def _listener(stack, backlog=5):
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(backlog)
    return listener


def _program(stack, *arguments, **keywords):
    """A program that waits for ever."""
    program = subprocess.Popen(["sleep", "1000"], *arguments, **keywords)
    stack.callback(program.wait)
    stack.callback(program.kill)
    return program


def os_read(stack):
    read, _ = _pipe(stack)
    return lambda: os.read(read, 1)


def os_readv(stack):
    read, _ = _pipe(stack)
    return lambda: os.readv(read, [bytearray(1)])


def os_write(stack):
    write = _full_pipe(stack)
    return lambda: os.write(write, b"x" * 65536)


def file_read(stack):
    read, _ = _pipe(stack)
    file = stack.enter_context(open(read, "rb", closefd=False))
    return file.read


def file_write(stack):
    write = _full_pipe(stack)
    file = stack.enter_context(open(write, "wb", buffering=0, closefd=False))
    return lambda: file.write(b"x" * 65536)


def os_sendfile(stack):
    write = _full_pipe(stack)
    file = stack.enter_context(tempfile.TemporaryFile())
    file.write(b"x" * 65536)
    file.flush()
    return lambda: os.sendfile(write, file.fileno(), 0, 65536)


def fifo_open(stack):
    path = _fifo(stack)
    return lambda: open(path).close()


def fifo_open_for_writing(stack):
    path = _fifo(stack)
    return lambda: os.close(os.open(path, os.O_WRONLY))


def fifo_read(stack):
    path = _fifo(stack)
    keep = os.open(path, os.O_RDWR)
    stack.callback(os.close, keep)
    file = stack.enter_context(open(path))
    return file.readline


def recv(stack):
    one, _ = _sockets(stack)
    return lambda: one.recv(1)


def recv_with_timeout(stack):
    one, _ = _sockets(stack)
    one.settimeout(1000)
    return lambda: one.recv(1)


def recv_into(stack):
    one, _ = _sockets(stack)
    return lambda: one.recv_into(bytearray(1))


def recvfrom(stack):
    one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    one.bind(("127.0.0.1", 0))
    return lambda: one.recvfrom(1)


def recvmsg(stack):
    one, _ = _sockets(stack)
    return lambda: one.recvmsg(1)


def sendall(stack):
    one, _ = _sockets(stack)
    return lambda: one.sendall(b"x" * (1 << 24))


def send_datagrams(stack):
    one, _ = _sockets(stack, socket.SOCK_DGRAM)

    def block():
        while True:
            one.send(b"x" * 1000)

    return block


def accept(stack):
    return _listener(stack).accept


def accept_with_timeout(stack):
    listener = _listener(stack)
    listener.settimeout(1000)
    return listener.accept


def _fill_backlog(stack, listener):
    for _ in range(3):
        one = stack.enter_context(socket.socket())
        one.setblocking(False)
        one.connect_ex(listener.getsockname())


def connect(stack):
    listener = _listener(stack, 0)
    _fill_backlog(stack, listener)
    one = stack.enter_context(socket.socket())
    return lambda: one.connect(listener.getsockname())


def connect_with_timeout(stack):
    listener = _listener(stack, 0)
    _fill_backlog(stack, listener)
    one = stack.enter_context(socket.socket())
    one.settimeout(1000)
    return lambda: one.connect(listener.getsockname())


def unix_connect(stack):
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(os.path.join(_folder(stack), "socket"))
    listener.listen(0)
    for _ in range(2):
        one = stack.enter_context(socket.socket(socket.AF_UNIX))
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    last = stack.enter_context(socket.socket(socket.AF_UNIX))
    return lambda: last.connect(listener.getsockname())


def makefile_readline(stack):
    one, _ = _sockets(stack)
    return stack.enter_context(one.makefile()).readline


def select_select(stack):
    one, _ = _sockets(stack)
    return lambda: select.select([one], [], [])


def select_poll(stack):
    one, _ = _sockets(stack)
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return lambda: poll.poll(1000000)


def select_epoll(stack):
    one, _ = _sockets(stack)
    epoll = stack.enter_context(select.epoll())
    epoll.register(one, select.EPOLLIN)
    return epoll.poll


def selectors_select(stack):
    one, _ = _sockets(stack)
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(one, selectors.EVENT_READ)
    return selector.select


def time_sleep(stack):
    return lambda: time.sleep(1000000)


def _holder(stack, code):
    """Another process that has run the code, and waits for ever."""
    program = subprocess.Popen(
        [sys.executable, "-c", f"{code}; import time; print(flush=True); time.sleep(1000)"], stdout=subprocess.PIPE
    )
    stack.callback(program.stdout.close)
    stack.callback(program.wait)
    stack.callback(program.kill)
    program.stdout.readline()


def _lock_of_another(stack, lock):
    path = os.path.join(_folder(stack), "lock")
    file = stack.enter_context(open(path, "w"))
    _holder(stack, f"import fcntl; f = open({path!r}, 'w'); fcntl.{lock}(f, fcntl.LOCK_EX)")
    return file


def flock(stack):
    file = _lock_of_another(stack, "flock")
    return lambda: fcntl.flock(file, fcntl.LOCK_EX)


def lockf(stack):
    file = _lock_of_another(stack, "lockf")
    return lambda: fcntl.lockf(file, fcntl.LOCK_EX)


def waitpid(stack):
    program = _program(stack)
    return lambda: os.waitpid(program.pid, 0)


def waitid(stack):
    program = _program(stack)
    return lambda: os.waitid(os.P_PID, program.pid, os.WEXITED)


def popen_wait(stack):
    return _program(stack).wait


def subprocess_run(stack):
    return lambda: subprocess.run(["sleep", "1000"])


def subprocess_run_capture(stack):
    return lambda: subprocess.run(["sleep", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def subprocess_check_output(stack):
    return lambda: subprocess.check_output(["sleep", "1000"])


def communicate(stack):
    program = _program(stack, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stack.callback(program.stdout.close)
    stack.callback(program.stderr.close)
    return program.communicate


def pty_readline(stack):
    master, slave = pty.openpty()
    stack.callback(os.close, master)
    tty.setraw(slave)
    file = stack.enter_context(open(slave))
    return file.readline


def http_getresponse(stack):
    listener = _listener(stack)

    def block():
        connection = http.client.HTTPConnection(*listener.getsockname())
        try:
            connection.request("GET", "/")
            return connection.getresponse()
        finally:
            connection.close()

    return block


def urlopen(stack):
    listener = _listener(stack)
    url = "http://%s:%d/" % listener.getsockname()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return lambda: opener.open(url)


def urlopen_with_timeout(stack):
    listener = _listener(stack)
    url = "http://%s:%d/" % listener.getsockname()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return lambda: opener.open(url, timeout=1000)


def _anonymous(side):
    """A context without certificates."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
    return context


def _tls_pair(stack):
    here, there = _sockets(stack)
    served = []
    thread = threading.Thread(
        target=lambda: served.append(_anonymous(ssl.PROTOCOL_TLS_SERVER).wrap_socket(there, server_side=True))
    )
    thread.start()
    client = stack.enter_context(_anonymous(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(here))
    thread.join()
    stack.enter_context(served[0])
    return client


def ssl_read(stack):
    client = _tls_pair(stack)

    def block():
        # 3.10 to 3.12 take the failed read for the end of the data; the exception comes at the next call.
        return bytearray(client.recv(1))

    return block


def ssl_read_with_timeout(stack):
    client = _tls_pair(stack)
    client.settimeout(1000)
    return lambda: client.recv(1)


def ssl_write(stack):
    client = _tls_pair(stack)
    return lambda: client.sendall(b"x" * (1 << 24))


def ssl_handshake(stack):
    here, _ = _sockets(stack)
    client = stack.enter_context(_anonymous(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(here, do_handshake_on_connect=False))
    return client.do_handshake


def multiprocessing_queue_get(stack):
    queue = multiprocessing.get_context("spawn").Queue()
    stack.callback(queue._writer.close)
    stack.callback(queue._reader.close)
    return queue.get


def multiprocessing_pipe_recv(stack):
    here, there = multiprocessing.Pipe()
    stack.callback(here.close)
    stack.callback(there.close)
    return here.recv


def multiprocessing_process_join(stack):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    process.start()
    stack.callback(process.close)
    stack.callback(process.join)
    stack.callback(process.kill)
    return process.join


def sigwait(stack):
    def block():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        try:
            return signal.sigwait([signal.SIGUSR2])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return block


def sigtimedwait(stack):
    def block():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        try:
            return signal.sigtimedwait([signal.SIGUSR2], 1000)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    return block


def _silent_resolver():
    """In a mount name space of this process's own: a name server that never answers. Once, before there are threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, bind, private = 0x20000, 0x1000, 0x4000 | 0x40000
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind(("127.0.0.99", 53))
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("nameserver 127.0.0.99\n")
        if (
            libc.unshare(new_mounts)
            or libc.mount(None, b"/", None, private, None)
            or libc.mount(file.name.encode(), b"/etc/resolv.conf", None, bind, None)
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return server
    except OSError as error:
        server.close()
        return error


_resolver = None


def prepare_resolver():
    global _resolver
    _resolver = _silent_resolver()


def getaddrinfo(stack):
    if not isinstance(_resolver, socket.socket):
        raise Skip(f"no name server of our own (root): {_resolver}")
    return lambda: socket.getaddrinfo("nobody.example.org", 80)


def sqlite_busy(stack):
    path = os.path.join(_folder(stack), "data")
    _holder(stack, f"import sqlite3; f = sqlite3.connect({path!r}, isolation_level=None); f.execute('create table t(x)'); f.execute('begin exclusive')")

    def block():
        other = sqlite3.connect(path, timeout=100)
        try:
            other.execute("insert into t values (1)")
        finally:
            other.close()

    return block


def asyncio_run(stack):
    return lambda: asyncio.run(asyncio.sleep(1000))


# These start programs themselves.
PROGRAMS = {"subprocess_run", "subprocess_run_capture", "subprocess_check_output"}

ALL = [
    os_read, os_readv, os_write, file_read, file_write, os_sendfile, fifo_open, fifo_open_for_writing, fifo_read,
    recv, recv_with_timeout, recv_into, recvfrom, recvmsg, sendall, send_datagrams, accept, accept_with_timeout,
    connect, connect_with_timeout, unix_connect, makefile_readline, select_select, select_poll, select_epoll,
    selectors_select, time_sleep, flock, lockf, waitpid, waitid, popen_wait, subprocess_run, subprocess_run_capture,
    subprocess_check_output, communicate, pty_readline, http_getresponse, urlopen, urlopen_with_timeout, ssl_read,
    ssl_read_with_timeout, ssl_write, ssl_handshake, multiprocessing_queue_get, multiprocessing_pipe_recv,
    multiprocessing_process_join, sigwait, sigtimedwait, getaddrinfo, sqlite_busy, asyncio_run,
]  # fmt: skip
