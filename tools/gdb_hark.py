"""gdb_hark: shows the handlers that wait (hark_await), with their stacks.

In gdb, on a process or a core dump, with hark's debug information:

    source tools/gdb_hark.py
    hark waits SYSTEM            each handler that waits: who, for what, from where
    hark waits SYSTEM --stacks   the same with backtraces
    hark stack AWAIT             one backtrace; AWAIT is an address that waits has shown

SYSTEM is an expression that gives a hark_system *. A handler's stack is where
src/sched/stack.c has left it; the registers stand at its lower end, as Boost.Context's
jump_fcontext for x86-64 puts them.
"""
import gdb
from gdb.unwinder import Unwinder

# What jump_fcontext saves, from the context's address on.
SAVED = {"r12": 0x08, "r13": 0x10, "r14": 0x18, "r15": 0x20, "rbx": 0x28, "rbp": 0x30,
         "rip": 0x38}
SIZE = 0x40

AWAITS = ("suspended", "due")
MODES = ("exclusively", "interleaving", "letting its chain in")


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class LeftStack(Unwinder):
    """While it is enabled, the innermost frame's caller is where a stack was left."""

    def __init__(self):
        super().__init__("hark")
        self.enabled = False
        self.context = None
        self.innermost = None

    def __call__(self, pending):
        if self.context is None:
            return None
        sp = int(pending.read_register("rsp"))
        if sp != self.innermost:
            return None
        void = gdb.lookup_type("void").pointer()
        info = pending.create_unwind_info(
            # Further in than what follows, or gdb would think the stack corrupt.
            FrameId(gdb.Value(self.context - 8).cast(void),
                    pending.read_register("rip")))
        word = gdb.lookup_type("unsigned long")
        for register, offset in SAVED.items():
            address = gdb.Value(self.context + offset).cast(word.pointer())
            value = address.dereference()
            info.add_saved_register(register, value.cast(void) if register == "rip"
                                    else value)
        info.add_saved_register("rsp", gdb.Value(self.context + SIZE).cast(void))
        return info

    def backtrace(self, context):
        frame = gdb.newest_frame()
        self.context, self.innermost = context, int(frame.read_register("rsp"))
        self.enabled = True
        gdb.invalidate_cached_frames()
        try:
            text = gdb.execute("backtrace", to_string=True)
        finally:
            self.enabled, self.context = False, None
            gdb.invalidate_cached_frames()
        # Frame 0 is the thread's own; what follows is the handler's.
        lines = text.splitlines()
        first = next((i for i, line in enumerate(lines) if line.startswith("#1 ")),
                     len(lines))
        return "\n".join(lines[first:])


left_stack = LeftStack()
gdb.unwinder.register_unwinder(None, left_stack, replace=True)


def container_of(link, type_name, member):
    kind = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    return (link.cast(gdb.lookup_type("char").pointer()) - offset).cast(kind.pointer())


def members(head, type_name, member):
    link = head["next"]
    while link != head.address:
        yield container_of(link, type_name, member)
        link = link["next"]


def text_of(pointer, otherwise):
    return pointer.string() if int(pointer) != 0 else otherwise


def future_of(slot, await_):
    """The future that it waits for; None: it has ended."""
    futures = slot["extra"]["futures"]
    index = int(await_["future"]) & 0xFFFFFFFF
    if int(futures) == 0 or index >= int(futures["place_count"]):
        return None
    place = futures["places"][index]
    found = int(place["generation"]) == int(await_["future"]) >> 32
    return place["future"] if found and int(place["future"]) != 0 else None


def describe(slot, await_):
    ref = await_["ctx"]["self"]
    behavior = slot["behavior"]
    name = text_of(behavior["name"], "actor") if int(behavior) != 0 else "actor"
    who = "%s<%04x.%d.%d>" % (name, int(ref["node"]) >> 48, int(ref["actor"]) & 0xFFFFFFFF,
                              int(ref["actor"]) >> 32)
    mode = MODES[int(await_["mode"])]
    future = future_of(slot, await_)
    if future is None:
        what = "for a future that has ended"
    else:
        asked = future["asked"]
        what = "for %s, asked at %s" % (
            text_of(asked["name"], "?") if int(asked) != 0 else "a future",
            text_of(future["site"], "?"))
    return "%s waits %s %s (await %#x)" % (who, mode, what, int(await_))


def every_await(system):
    slots = system["node"]["slots"]
    for i in range(int(slots["count"])):
        slot = slots["base"][i]
        if int(slot["extra"]) == 0 or int(slot["extra"]["waits"]) == 0:
            continue
        for state in AWAITS:
            head = slot["extra"]["waits"].dereference()[state]
            for await_ in members(head, "struct await", "by_state"):
                yield slot, await_


class Hark(gdb.Command):
    """Commands about a hark_system."""

    def __init__(self):
        super().__init__("hark", gdb.COMMAND_USER, prefix=True)


class HarkWaits(gdb.Command):
    """hark waits SYSTEM [--stacks]: the handlers that wait."""

    def __init__(self):
        super().__init__("hark waits", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        words = [word for word in gdb.string_to_argv(argument) if word != "--stacks"]
        if len(words) != 1:
            raise gdb.GdbError("usage: hark waits SYSTEM [--stacks]")
        count = 0
        for slot, await_ in every_await(gdb.parse_and_eval(words[0])):
            count += 1
            print(describe(slot, await_))
            if "--stacks" in argument:
                print(left_stack.backtrace(int(await_["stack"]["context"])))
        print("%d waiting" % count)


class HarkStack(gdb.Command):
    """hark stack AWAIT: where that handler waits."""

    def __init__(self):
        super().__init__("hark stack", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        await_ = gdb.parse_and_eval(argument).cast(
            gdb.lookup_type("struct await").pointer())
        print(left_stack.backtrace(int(await_["stack"]["context"])))


Hark()
HarkWaits()
HarkStack()
