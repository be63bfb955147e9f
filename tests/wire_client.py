#!/usr/bin/python3
"""A guest that asks an actor of a hark node: docs/wire.md as a program.

    tests/wire_client.py tcp://127.0.0.1:7000/greeter greet name:str=Ann
    tests/wire_client.py ENDPOINT/ACTOR MESSAGE [FIELD:KIND=VALUE]...
    tests/wire_client.py --stream ENDPOINT/ACTOR MESSAGE [FIELD:KIND=VALUE]...

KIND is bool, i8 to i64, u8 to u64, f32, f64, str, bytes or ref (32 hex digits), or
list.KIND with values between commas. Prints the reply, or each item. Needs python3-zmq and -msgpack.
"""

import json
import os
import sys
import time

import msgpack
import zmq

HELLO, WELCOME, GOODBYE, BATCH, HEARTBEAT = range(1, 6)               # frames
ASK, REPLY, FAILURE, LOOKUP, FOUND, CANCEL = range(2, 8)              # envelopes
ITEM, CREDIT = 10, 11
EEND = 22
TYPES, TRACE = 100, 103                                               # other entries
VERSION, GUEST, REF = 1, 1, 1
SILENCE_MS, FRAME_BYTES = 3000, 64 * 1024 * 1024
KINDS = ["", "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64",
         "ref", "str", "bytes", "message", "list"]
STAGES = ["not sent", "sent", "queued", "running", "reply lost"]


class Failure(Exception):   # no reply; code and stage are those of docs/wire.md
    def __init__(self, code, stage, text):
        self.code, self.text, self.stage = code, text, stage if 0 < stage < 5 else 1
        super().__init__(f"failed with code {code}, stage {STAGES[self.stage]}: {text}")


class Field:
    def __init__(self, name, kind, element="", nested=None):
        self.name, self.nested = name, nested                         # nested: a Type
        self.kind, self.element = KINDS.index(kind), KINDS.index(element)


class Type:
    def __init__(self, name, *fields):
        self.name, self.fields = name, fields

    def hash_bytes(self):                               # nested types in full
        out = self.name.encode() + b"\0" + len(self.fields).to_bytes(2, "big")
        for field in self.fields:
            out += field.name.encode() + bytes([0, field.kind, field.element])
            out += field.nested.hash_bytes() if field.nested else b""
        return out

    def hash(self):                                     # FNV-1a, 64 bits
        result = 0xcbf29ce484222325
        for byte in self.hash_bytes():
            result = (result ^ byte) * 0x100000001b3 % 2**64
        return result

    def parts(self):
        """This type behind those that are nested in it: the order of declaration."""
        return [t for f in self.fields if f.nested for t in f.nested.parts()] + [self]

    def declaration(self):
        return [self.name, self.hash(),
                [[f.name, f.kind, f.element, f.nested.name if f.nested else None]
                 for f in self.fields]]


def unpack(frame):                                      # its head, then its entries
    unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape",
                                max_buffer_size=FRAME_BYTES)
    unpacker.feed(frame)
    return list(unpacker)


class Link:
    def __init__(self, endpoint, timeout_s=5, node=None):
        self.timeout_s = timeout_s
        self.seq = self.seq_in = self.number = 0
        self.types, self.their_types = {}, []          # ours by name; theirs by number
        self.is_up, self.silence_ms = False, SILENCE_MS
        self.node = node or int.from_bytes(os.urandom(8), "big") or 1
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 200
        self.socket.connect(endpoint)
        self.send([HELLO, 0, 0, "hark", VERSION, VERSION, "wire_client", self.node,
                   GUEST, SILENCE_MS, "", FRAME_BYTES])
        head = self.receive(time.monotonic() + timeout_s)[0]
        if head[0] != WELCOME or head[3] != "hark" or head[4] != VERSION:
            raise Failure(13, 1, "the node answers with something else than WELCOME")
        self.is_up, self.silence_ms = True, max(20, min(SILENCE_MS, head[9]))

    def close(self):
        self.send([GOODBYE, self.seq, self.seq_in, 4, "it stops"])
        self.socket.close()

    def send(self, head, *entries):
        self.sent_at = time.monotonic()
        self.socket.send(b"".join(map(msgpack.packb, (head,) + entries)))

    def receive(self, deadline):
        """The next frame. Says that we live while it waits, and notices silence."""
        ready, silent_at = False, time.monotonic() + self.silence_ms / 1000
        while not ready:
            ready, now = self.socket.poll(self.silence_ms / 6), time.monotonic()
            if not ready and now > deadline:
                raise Failure(3, 1, "no answer in time")
            if not ready and self.is_up and now > silent_at:
                raise Failure(9, 1, "the node is silent")
            if self.is_up and now > self.sent_at + self.silence_ms / 3000:
                self.send([HEARTBEAT, self.seq, self.seq_in])
        values = unpack(self.socket.recv())
        if values[0][0] == GOODBYE:
            raise Failure(values[0][3], 1, f"the node said goodbye: {values[0][4]}")
        return values

    def entries(self, deadline):
        """The entries of the next batch."""
        head, entries = [HEARTBEAT, 0], []
        while head[0] != BATCH or head[1] <= self.seq_in:   # or one seen before
            head, *entries = self.receive(deadline)
        if head[1] != self.seq_in + 1:
            raise Failure(13, 1, "frames are missing")
        self.seq_in = head[1]
        return entries

    def say(self, *entries):
        self.seq += 1
        self.send([BATCH, self.seq, self.seq_in], *entries)

    def request(self, kind, target, type_number, payload, *before, credits=0):
        """Sends a request and gives the envelopes that answer it, up to its end."""
        self.number += 1
        number, time_s = self.number, self.timeout_s
        remaining = int(time_s * 1000) if credits == 0 else 0xffffffff
        self.say(*before, [kind, target, None, number, remaining, 0, credits, 0,
                           type_number, payload])
        deadline = time.monotonic() + time_s
        while True:
            for entry in self.entries(deadline):
                if entry[0] == TYPES:
                    self.their_types += entry[2]
                elif entry[0] == FAILURE and entry[3] == number:
                    raise Failure(*entry[9][:3])
                elif entry[0] in (REPLY, FOUND, ITEM) and entry[3] == number:
                    yield entry
                    deadline = time.monotonic() + time_s
                    if entry[0] != ITEM:
                        return

    def lookup(self, name):
        """The actor of that name; its target word is what an ask needs."""
        ref = next(self.request(LOOKUP, 0, None, [name]))[9][0].data
        return int.from_bytes(ref[8:], "big")

    def declare(self, type_):
        """What must be said before the type is used: each side on its own, in order."""
        before = []
        for each in type_.parts():
            if each.name not in self.types:
                before.append([TYPES, len(self.types), [each.declaration()]])
                self.types[each.name] = len(self.types)
        return before

    def read(self, answer):
        """The answer's type, its fields' names, and their values."""
        name, _, fields = self.their_types[answer[8]][:3]
        return name, [field[0] for field in fields], answer[9]

    def ask(self, actor, type_, *values):
        before = self.declare(type_)
        return self.read(next(self.request(ASK, actor, self.types[type_.name],
                                           list(values), *before)))

    def stream(self, actor, type_, *values, window=16):
        """Gives each item; who breaks off should close this generator."""
        before = self.declare(type_)
        answers = self.request(ASK, actor, self.types[type_.name], list(values), *before,
                               credits=window)
        number, taken = self.number + 1, 0
        try:
            for answer in answers:
                yield self.read(answer)
                taken += 1
                if answer[0] == ITEM and taken * 2 >= window:
                    self.say([CREDIT, actor, None, number, 0, 0, taken, 0, None, None])
                    taken = 0
        except Failure as failure:
            if failure.code != EEND:
                raise
        except GeneratorExit:
            self.say([CANCEL, actor, None, number, 0, 0, 0, 0, None, None])
            raise


def parse(text):
    """A field and its value, from FIELD:KIND=VALUE."""
    name, _, rest = text.partition(":")
    kind, _, value = rest.partition("=")
    if kind.startswith("list."):
        items = [scalar(kind[5:], item) for item in value.split(",") if item]
        return Field(name, "list", kind[5:]), items
    return Field(name, kind), scalar(kind, value)


def scalar(kind, value):
    read = {"str": str, "bytes": str.encode, "f32": float, "f64": float,
            "bool": lambda text: text == "true",
            "ref": lambda text: msgpack.ExtType(REF, bytes.fromhex(text))}
    return read.get(kind, int)(value)


def show(value):
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, (msgpack.ExtType, bytes)):
        return getattr(value, "data", value).hex()
    return "nobody" if value is None else json.dumps(value, ensure_ascii=False)


def main(args):
    streams = args[:1] == ["--stream"]
    args = args[streams:]
    try:
        endpoint, _, actor = args[0].rpartition("/")
        fields = [parse(arg) for arg in args[2:]]
        type_ = Type(args[1], *(field for field, _ in fields))
    except (IndexError, ValueError):
        sys.exit(__doc__)
    try:
        link = Link(endpoint)
        call = link.stream if streams else lambda *a: [link.ask(*a)]
        for name, names, got in call(link.lookup(actor), type_, *(v for _, v in fields)):
            print(f"{name}{{{', '.join(f'{n}: {show(v)}' for n, v in zip(names, got))}}}")
        link.close()
    except Failure as failure:
        sys.exit(f"wire_client.py: {failure}")


if __name__ == "__main__":
    main(sys.argv[1:])
