"""The peers: how each is built, and which command runs one workload of it.

A peer prints lines that end in METRIC VALUE UNIT. A command is a list of words and what
is added to the environment; None: the peer has no such workload. A remote workload of a
peer that has a server() gets one, which prints `ready` and is killed at the end.
"""
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))

LOCAL = ["pingpong", "counting", "threadring", "fjthrput", "fjcreate", "spawn", "big",
         "chameneos", "concdict", "bank", "ask_seq", "await_seq", "ask_100", "timers_pair"]
MEMORY = {"mem": 1000000, "mem_5M": 5000000}
# Ours that ask in another way than ask_seq: a peer has one way.
SAME = {"await_seq": "ask_seq"}
REMOTE = ["remote_tell_30B", "remote_tell_1KB", "remote_tell_64KB", "remote_ask_seq",
          "remote_ask_1000"]


def is_older(path, source):
    return not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source)


class Program:
    """One of our own programs in the build folder: hark, libzmq, floor."""

    def __init__(self, name, path, workloads):
        self.name, self.path, self.workloads = name, path, workloads

    def build(self, folder):
        return None if os.access(self.path, os.X_OK) else "no program %s" % self.path

    def command(self, workload, workers, port):
        if workload not in self.workloads:
            return None
        return [self.path, workload, "--workers", str(workers)], {}

    def server(self, workload, workers, port):
        return None

    def memory_gib(self, workload):
        return {"mem_5M": 1, "mem_10M": 3}.get(workload, 0)


class Built:
    """A peer that is compiled from one source."""

    tool = source = output = None

    def build(self, folder):
        """Gives why it cannot be run; None: it can."""
        self.folder = os.path.join(folder, self.name)
        self.path = os.path.join(self.folder, self.output)
        source = os.path.join(HERE, self.name, self.source)
        if shutil.which(self.tool) is None:
            return "no %s here" % self.tool
        os.makedirs(self.folder, exist_ok=True)
        if is_older(self.path, source):
            done = subprocess.run(self.compile(source), cwd=self.folder, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=dict(os.environ, **self.compile_environment()))
            if done.returncode != 0:
                return "not built: %s" % done.stdout[-600:]
        return None

    def compile_environment(self):
        return {}

    def server(self, workload, workers, port):
        return None

    def memory_gib(self, workload):
        return 0


class Erlang(Built):
    """OTP with its JIT. Schedulers as many as workers; the busy wait that served each
    kind of workload best: long for a request at a time between nodes, else the
    default. No epmd: the nodes meet at one port of loopback."""

    name, tool, source, output = "erlang", "erlc", "bench.erl", "bench.beam"

    def compile(self, source):
        return ["erlc", "+inline", "+inline_list_funcs", "-o", ".", source]

    def emulator(self, workers, *flags):
        return ["erl", "-pa", self.folder, "+S", "%d:%d" % (workers, workers), *flags]

    def node(self, name, workload, workers, port):
        wait = ["+sbwt", "very_long"] if workload == "remote_ask_seq" else []
        return self.emulator(
            workers, "+zdbbl", "131072", *wait, "-name", name, "-setcookie", "bench",
            "-start_epmd", "false", "-erl_epmd_port", str(port),
            "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-noshell")

    def command(self, workload, workers, port):
        if workload in LOCAL:
            return self.emulator(workers, "+P", "4000000", "-noshell", "-run", "bench",
                                 "main", SAME.get(workload, workload)), {}
        if workload in MEMORY:
            return self.emulator(workers, "+P", "10000000", "-noshell", "-run", "bench",
                                 "main", "mem", str(MEMORY[workload])), {}
        if workload in REMOTE:
            return self.node("client@127.0.0.1", workload, workers, port) + [
                "-dist_listen", "false", "-run", "bench", "main", workload,
                "server@127.0.0.1"], {}
        return None

    def server(self, workload, workers, port):
        if workload not in REMOTE:
            return None
        return self.node("server@127.0.0.1", workload, workers, port) + [
            "-run", "bench", "main", "serve"], {}

    def memory_gib(self, workload):
        return {"mem_5M": 7}.get(workload, 0)


class Caf(Built):
    """CAF 0.17. Its work stealing is faster than its sharing, but for many new actors:
    there it is slower, and with a million it did not end."""

    name, tool, source, output = "caf", "g++", "bench.cpp", "bench"

    def compile(self, source):
        return ["g++", "-O3", "-DNDEBUG", "-std=c++17", "-w", source, "-o", self.path,
                "-lcaf_io", "-lcaf_core", "-lpthread"]

    def command(self, workload, workers, port):
        words = [self.path, SAME.get(workload, workload), str(workers)]
        if workload in ("spawn", "fjcreate"):
            return words, {"CAF_POLICY": "sharing"}
        if workload == "timers_pair":
            return None  # its timed messages cannot be cancelled
        if workload in LOCAL:
            return words, {}
        if workload in MEMORY:
            return [self.path, "mem", str(workers), str(MEMORY[workload])], {}
        if workload in REMOTE:
            return words + [str(port)], {}
        return None

    def server(self, workload, workers, port):
        if workload not in REMOTE:
            return None
        return [self.path, "serve", str(workers), str(port)], {}

    def memory_gib(self, workload):
        return {"mem_5M": 8}.get(workload, 0)


class Go(Built):
    name, tool, source, output = "go", "go", "bench.go", "bench"

    def compile(self, source):
        return ["go", "build", "-o", self.path, source]

    def compile_environment(self):
        return {"GO111MODULE": "off", "GOFLAGS": ""}

    def command(self, workload, workers, port):
        processors = {"GOMAXPROCS": str(workers)}
        if workload in LOCAL:
            return [self.path, SAME.get(workload, workload)], processors
        if workload in MEMORY:
            return [self.path, "mem", str(MEMORY[workload])], processors
        return None

    def memory_gib(self, workload):
        return {"mem_5M": 16}.get(workload, 0)
