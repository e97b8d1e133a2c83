"""This file is where the seeds come from: `python -m tests.fuzz.seeds` writes them, small and named for their sense."""

import json
from pathlib import Path

from gateway.tunnel import frames
from gateway.tunnel.frames import ACK, DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW
from gateway.tunnel.stream import block
from gateway.tunnel.websocket import BINARY, Writer
from gateway.tunnel.websocket import PING as WS_PING
from tests.fuzz.running import CORPUS

VECTORS = Path(__file__).parents[1] / "vectors"
OPENED = frames.pack(DATA, SYN, 1, 6) + block(b"what")
YAMUX = {
    "open": OPENED,
    "half-closed": OPENED + frames.pack(DATA, FIN, 1, 2) + b"ok",
    "reset": OPENED + frames.pack(WINDOW, RST, 1, 3),
    "credit": OPENED + frames.pack(WINDOW, 0, 1, 262_144) + frames.pack(WINDOW, ACK, 2, 131_072),
    "ping": frames.pack(PING, SYN, 0, 7) + frames.pack(PING, ACK, 0, 1),
    "go-away": frames.pack(GO_AWAY, 0, 0, 0) + OPENED,
    "answered": frames.pack(WINDOW, ACK, 2, 0)
    + frames.pack(DATA, 0, 2, 5)
    + block(b"yes")
    + frames.pack(DATA, FIN, 2, 0),
    "many": b"".join(frames.pack(DATA, SYN | FIN, number, 0) for number in range(1, 41, 2)),
}
JSON = {
    "preamble": b'{"deadline_ms":10000,"grant":"x","lane":"auto","target":"vc","trace":"0193","v":1}',
    "nested": b'{"a":[1,2,{"b":null}]}',
    "twice": b'{"a":1,"a":2}',
    "surrogate": b'"\\ud800"',
    "huge": b"[1e400,9007199254740993,-0.0]",
    "deep": b"[" * 50 + b"]" * 50,
}


def main() -> None:
    pieces = Writer(masks=True)
    bare = Writer(masks=False)
    websocket = {f"masked-{name}": b"\x01" + pieces.message([content]) for name, content in YAMUX.items()}
    websocket["bare"] = b"\x00" + bare.message([b"x" * 200]) + bare.message([b"p"], opcode=WS_PING)
    websocket["fragments"] = b"\x00\x02\x01a\x80\x01b" + bare.message([b"next"], opcode=BINARY)
    websocket["close"] = b"\x00" + bare.close(1000, "bye")
    websocket["large"] = b"\x00\x82\x7f" + (400_000).to_bytes(8, "big") + b"begins"
    vectors = {
        f"vector-{number}": bytes.fromhex(one["hex"])
        for number, one in enumerate(json.loads((VECTORS / "frames.json").read_text())["frames"])
        if len(one["hex"]) < 400
    }
    _write("frames", YAMUX | vectors)
    _write("mux", {name: bytes((40, 1, 2, 3, 4, 5, 6, 7)) + content for name, content in YAMUX.items()})
    _write("websocket", websocket)
    _write("strict_json", JSON)


def _write(target: str, seeds: dict[str, bytes]) -> None:
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (CORPUS / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
