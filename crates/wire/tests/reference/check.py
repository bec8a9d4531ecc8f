"""Reads golden vectors on standard input, checks each with the reference, and prints for each the
frame that the reference itself makes of the same contents: one hexadecimal line a vector."""

import json
import sys

import portcullis_wire as wire


def main() -> None:
    golden = json.load(sys.stdin)
    root = bytes.fromhex(golden["epoch_root"])
    epoch = golden["epoch"]
    content_key = bytes.fromhex(golden["content_key"])
    for vector in golden["vectors"]:
        frame = bytes.fromhex(vector["frame"])
        source, realm = vector["source"], golden["realm"]
        confidential = vector["protection"] == "confidential"
        signed = vector["protection"] == "signed"
        author = bytes.fromhex(golden["ed25519_public"]) if signed else None
        author_seed = bytes.fromhex(golden["ed25519_seed"]) if signed else None
        body_key = content_key if confidential else None
        for reader, key in vector["link_keys"].items():
            assert wire.link_key(root, realm, epoch, source, reader).hex() == key, vector["name"]
            header, body = wire.unseal(
                root, epoch, reader, source, realm, frame, confidential, author
            )
        if vector["signed_kind"]:
            public = bytes.fromhex(golden["ed25519_public"])
            content = wire.verify_signed(public, vector["signed_kind"], body)
            body = wire.sign(bytes.fromhex(golden["ed25519_seed"]), vector["signed_kind"], content)
        refuse_every_flipped_bit(root, epoch, realm, source, next(iter(vector["link_keys"])), frame)
        print(wire.seal(root, epoch, header, body, body_key, author_seed).hex())


def refuse_every_flipped_bit(root, epoch, realm, source, reader, frame) -> None:
    for position in range(len(frame)):
        bent = bytearray(frame)
        bent[position] ^= 1
        try:
            opened = wire.unseal(root, epoch, reader, source, realm, bytes(bent))
        except Exception:  # Whatever the decoder or the checks raise is a refusal.
            continue
        # Only another addressee's seal may change without this reader's noticing.
        assert opened == wire.unseal(root, epoch, reader, source, realm, frame), position


main()
