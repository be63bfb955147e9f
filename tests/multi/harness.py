"""What the multi-process tests share: programs to run, and looks into /proc."""

import os
import select
import subprocess
import time

BUILD = os.environ["HARK_BUILD_DIR"]
PEER = os.path.join(BUILD, "tests", "multi", "peer")
EXAMPLES = os.path.join(BUILD, "examples")

# A sanitizer's memory is not ours to bound, and its programs are slow.
IS_SANITIZED = bool(os.environ.get("HARK_SANITIZE"))

# No test waits longer for anything; it only bounds the time of a failure.
PATIENCE_S = 60


def until(what, look):
    """Looks until look() gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"still not: {what}")
        time.sleep(0.01)  # between two looks


class Program:
    """A running program, whose lines of output are read with a time limit."""

    def __init__(self, *command, env=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        self.unread = b""

    def line(self, timeout=PATIENCE_S):
        """The next line, without its end; AssertionError if none comes."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.unread:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            if not ready:
                raise AssertionError(f"no line within {timeout} s")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"it ended with {self.process.wait()} instead of "
                                     f"another line; unread: {self.unread!r}")
            self.unread += data
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self, number):
        self.process.send_signal(number)

    def finish(self, timeout=PATIENCE_S):
        """Closes its stdin, and gives its exit status and the lines left."""
        self.process.stdin.close()
        rest = (self.unread + self.process.stdout.read()).decode().splitlines()
        return self.process.wait(timeout=timeout), rest

    def end(self):
        """For addCleanup: nothing of it stays, whatever its state."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Server(Program):
    """`peer serve`, up and listening."""

    def __init__(self, endpoint="tcp://127.0.0.1:0", env=None):
        super().__init__(PEER, "serve", endpoint, env=env)
        self.echo = self.line().removeprefix("echo ")
        self.stale = self.line().removeprefix("stale ")
        self.endpoint = self.line().removeprefix("listening ")
        self.name = self.endpoint + "/echo"
        if self.endpoint.startswith("tcp://"):
            self.port = int(self.endpoint.rsplit(":", 1)[1])

    def stats(self):
        self.say("stats")
        words = self.line().split()[1:]
        return {name: int(count) for name, count in zip(words[::2], words[1::2])}

    def until_links(self, count):
        until(f"{count} links", lambda: self.stats()["links"] == count)


def run_peer(*args, env=None):
    """Runs peer to its end."""
    return subprocess.run([PEER, *args], timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})}, capture_output=True,
                          text=True)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_kb(pid):
    """What the process holds in memory now."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError(f"process {pid} has no memory any more")


def processes_with(variable):
    """Processes whose environment has that "NAME=value"; zombies have none."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if variable.encode() in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass  # gone, or not ours
    return found
