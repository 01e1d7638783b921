"""The other side of peers.test.ts: reads calls as JSON from stdin, does them with the package cryptography, and writes the
results as JSON. All bytes are base64."""

import base64
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, hmac, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


def verify(key, message, signature, terms):
    name = terms["algorithm"]
    hash_ = HASHES.get(terms.get("hash", ""))
    data = Prehashed(hash_) if terms.get("isDigest") else hash_
    if name.startswith("rsa") and terms.get("scheme") == "rsassa-pkcs1-v1_5":
        return key.verify(signature, message, padding.PKCS1v15(), data)
    if name.startswith("rsa"):
        pss = padding.PSS(mgf=padding.MGF1(hash_), salt_length=terms["saltLength"])
        return key.verify(signature, message, pss, data)
    if name.startswith("ecdsa"):
        return key.verify(signature, message, ec.ECDSA(data))
    return key.verify(signature, message)


def holds(call):
    try:
        verify(public(call), bytes_of(call, "message"), bytes_of(call, "signature"), call["terms"])
        return True
    except InvalidSignature:
        return False


def oaep(call):
    return text(public(call).encrypt(bytes_of(call, "message"), oaep_with(bytes_of(call, "label"))))


def agree(call):
    peer = public(call)
    if isinstance(peer, x25519.X25519PublicKey):
        own = x25519.X25519PrivateKey.generate()
        secret = own.exchange(peer)
    else:
        own = ec.generate_private_key(ec.SECP256R1())
        secret = own.exchange(ec.ECDH(), peer)
    return {"secret": text(secret), "pem": pem_of(own)}


def encapsulate(call):
    secret, ciphertext = public(call).encapsulate()
    return {"secret": text(secret), "ciphertext": text(ciphertext)}


def sign(call):
    terms = call["terms"]
    name = terms["algorithm"]
    hash_ = HASHES.get(terms.get("hash", ""))
    message = bytes_of(call, "message")
    if name.startswith("rsa"):
        own = rsa.generate_private_key(65537, 2048)
        pss = padding.PSS(mgf=padding.MGF1(hash_), salt_length=terms.get("saltLength", 0))
        signature = own.sign(message, pss if terms.get("scheme") is None else padding.PKCS1v15(), hash_)
    elif name.startswith("ecdsa"):
        curves = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1(), "ecdsa-p521": ec.SECP521R1()}
        own = ec.generate_private_key(curves[name])
        signature = own.sign(message, ec.ECDSA(hash_))
    else:
        own = {"ed25519": ed25519.Ed25519PrivateKey, "ml-dsa-65": mldsa.MLDSA65PrivateKey}[name].generate()
        signature = own.sign(message)
    return {"pem": pem_of(own), "signature": text(signature)}


def open_oaep(call):
    return text(private(call).decrypt(bytes_of(call, "ciphertext"), oaep_with(bytes_of(call, "label"))))


def unwrap(call):
    """A secret key as Cardea exports it: CKM_RSA_AES_KEY_WRAP."""
    own = private(call)
    wrapped, split = bytes_of(call, "wrapped"), own.key_size // 8
    aes = own.decrypt(wrapped[:split], oaep_with(None))
    return keywrap.aes_key_unwrap_with_padding(aes, wrapped[split:])


def use_secret(call):
    """Opens what Cardea has made with an exported key, and makes something for Cardea."""
    key, name = unwrap(call), call["algorithm"]
    if "context" in call:
        hkdf = HKDF(algorithm=hashes.SHA256(), length=len(key), salt=None, info=bytes_of(call, "context"))
        key = hkdf.derive(key)
    message = bytes_of(call, "message")
    if name == "fernet":
        fernet = Fernet(base64.urlsafe_b64encode(key))
        return {"opened": text(fernet.decrypt(call["made"])), "made": fernet.encrypt(message).decode()}
    made = bytes_of(call, "made")
    if name.startswith("hmac"):
        own = hmac.HMAC(key, HASHES[name.replace("hmac-", "")])
        own.update(message)
        return {"opened": text(message) if own.finalize() == made else "", "made": call["made"]}
    cipher = ChaCha20Poly1305(key) if name.startswith("chacha") else AESGCM(key)
    data, nonce = bytes_of(call, "data"), os.urandom(12)
    opened = cipher.decrypt(made[:12], made[12:], data)
    return {"opened": text(opened), "made": text(nonce + cipher.encrypt(nonce, message, data))}


def oaep_with(label):
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label)


def private(call):
    return serialization.load_pem_private_key(call["privatePem"].encode(), None)


def pem_of(own):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return own.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()


def public(call):
    return serialization.load_pem_public_key(call["pem"].encode())


def bytes_of(call, name):
    return base64.b64decode(call[name])


def text(octets):
    return base64.b64encode(octets).decode()


WORK = {
    "holds": holds,
    "oaep": oaep,
    "agree": agree,
    "encapsulate": encapsulate,
    "sign": sign,
    "open_oaep": open_oaep,
    "use_secret": use_secret,
}
print(json.dumps([WORK[call["do"]](call) for call in json.load(sys.stdin)]))
