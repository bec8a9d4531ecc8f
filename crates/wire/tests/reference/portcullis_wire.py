"""The envelope of Portcullis in Python: a reference for tests, written from the description alone.

frame  = [version, header: bin, body: bin, seals: [[key_id, tag], ...]]           (MessagePack)
header = [realm, kind, subject, source, [audience...], id, boot, seq, issued_at, expires_at,
          correlation, causation | nil, traceparent]
tag    = HMAC-SHA256(K, "portcullis/seal/v1\\0" | u64be(len header) | header | u64be(len body) | body)
K      = HKDF-SHA256(ikm=epoch root, salt="portcullis/epoch-root/v1",
                     info=lp(purpose) | lp(realm) | lp(u32be(epoch)) | lp(source) | lp(audience))

A confidential body, in place of the plain one:
body       = [[[audience, wrapped], ...], ciphertext]
B          = HKDF-Expand-SHA256(prk=K, info="portcullis/body/aes-256-gcm/v1")
wrapped    = AES-256-GCM(B, nonce=id[:12], content key, "portcullis/body/v1\\0" | header)
ciphertext = AES-256-GCM(content key, nonce=12 zero bytes, plain body, the same)

A body that its author signed, in place of the plain one:
body       = [plain body: bin, signature: bin]
signature  = Ed25519("portcullis/author/v1\\0" | u64be(len header) | header | plain body)
"""

import hashlib
import hmac
import struct

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
FIELDS = (
    "realm kind subject source audience id boot seq issued_at expires_at "
    "correlation causation traceparent"
).split()


def link_key(root: bytes, realm: str, epoch: int, source: str, audience: str) -> bytes:
    """HKDF-SHA256 (RFC 5869): extract, then one block of expand."""
    parts = [
        b"portcullis/seal/hmac-sha256/v1",
        realm.encode(),
        struct.pack(">I", epoch),
        source.encode(),
        audience.encode(),
    ]
    info = b"".join(struct.pack(">H", len(part)) + part for part in parts)
    pseudo_random_key = hmac.digest(b"portcullis/epoch-root/v1", root, "sha256")
    return hmac.digest(pseudo_random_key, info + b"\x01", "sha256")


def tag(key: bytes, header: bytes, body: bytes) -> bytes:
    covered = b"portcullis/seal/v1\0"
    for part in (header, body):
        covered += struct.pack(">Q", len(part)) + part
    return hmac.digest(key, covered, "sha256")


def pack(value) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def unpack(data: bytes):
    """Decodes, and refuses every second spelling of the same value."""
    value = msgpack.unpackb(data, raw=False, strict_map_key=True)
    if pack(value) != data:
        raise ValueError("not in its one canonical encoding")
    return value


def body_key(key: bytes) -> bytes:
    return hmac.digest(key, b"portcullis/body/aes-256-gcm/v1\x01", "sha256")


def close_body(content_key: bytes, keys: dict, envelope_id: bytes, header: bytes, body: bytes):
    data = b"portcullis/body/v1\0" + header
    wrapped = [
        [audience, AESGCM(body_key(key)).encrypt(envelope_id[:12], content_key, data)]
        for audience, key in keys.items()
    ]
    return pack([wrapped, AESGCM(content_key).encrypt(bytes(12), body, data)])


def open_body(key: bytes, reader: str, envelope_id: bytes, header: bytes, body: bytes) -> bytes:
    data = b"portcullis/body/v1\0" + header
    wrapped, ciphertext = unpack(body)
    (mine,) = [wrap for audience, wrap in wrapped if audience == reader]
    content_key = AESGCM(body_key(key)).decrypt(envelope_id[:12], mine, data)
    return AESGCM(content_key).decrypt(bytes(12), ciphertext, data)


def authored_bytes(header: bytes, body: bytes) -> bytes:
    return b"portcullis/author/v1\0" + struct.pack(">Q", len(header)) + header + body


def open_authored(public: bytes, header: bytes, body: bytes) -> bytes:
    plain, signature = unpack(body)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, authored_bytes(header, plain))
    return plain


def seal(root, epoch: int, header: dict, body, content_key=None, author_seed=None) -> bytes:
    packed_header = pack([header[field] for field in FIELDS])
    packed_body = pack(body)
    keys = {
        audience: link_key(root, header["realm"], epoch, header["source"], audience)
        for audience in header["audience"]
    }
    if content_key is not None:
        packed_body = close_body(content_key, keys, header["id"], packed_header, packed_body)
    if author_seed is not None:
        author = Ed25519PrivateKey.from_private_bytes(author_seed)
        packed_body = pack([packed_body, author.sign(authored_bytes(packed_header, packed_body))])
    seals = []
    for audience, key in keys.items():
        key_id = f"{header['source']}>{audience}/{epoch}"
        seals.append([key_id, tag(key, packed_header, packed_body)])
    return pack([VERSION, packed_header, packed_body, seals])


def unseal(
    root: bytes, epoch: int, reader: str, source: str, realm: str, frame: bytes,
    confidential=False, author_public=None,
):
    """Returns (header, body); raises ValueError for whatever does not hold."""
    version, packed_header, packed_body, seals = unpack(frame)
    if version != VERSION:
        raise ValueError("version")
    tags = dict(map(tuple, seals))
    given = tags.get(f"{source}>{reader}/{epoch}")
    if given is None:
        raise ValueError("no seal")
    key = link_key(root, realm, epoch, source, reader)
    if not hmac.compare_digest(given, tag(key, packed_header, packed_body)):
        raise ValueError("bad seal")
    header = dict(zip(FIELDS, unpack(packed_header), strict=True))
    if header["realm"] != realm or header["source"] != source or reader not in header["audience"]:
        raise ValueError("header")
    if confidential:
        packed_body = open_body(key, reader, header["id"], packed_header, packed_body)
    if author_public is not None:
        packed_body = open_authored(author_public, packed_header, packed_body)
    return header, unpack(packed_body)


def signed_bytes(kind: str, content: bytes) -> bytes:
    return b"portcullis/sign/v1\0" + kind.encode() + b"\0" + content


def sign(seed: bytes, kind: str, content) -> dict:
    packed = pack(content)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(signed_bytes(kind, packed))
    return {"content": packed, "signature": signature}


def verify_signed(public: bytes, kind: str, signed: dict):
    key = Ed25519PublicKey.from_public_bytes(public)
    key.verify(signed["signature"], signed_bytes(kind, signed["content"]))
    return unpack(signed["content"])


def order_id(strategy: str, proposal: bytes) -> bytes:
    text = b"portcullis/order-id/v1\0" + strategy.encode() + b"\0" + proposal
    return hashlib.sha256(text).digest()[:16]
