"""Verifiers of COSE that know nothing of CCF's own package judge a receipt.

judge_cose.py SERVICE_CERT RECEIPT [CLAIMS_DIGEST_HEX]: scitt-cose the whole receipt, pycose the signature over the root.
"""

import sys
import warnings

import scitt_cose
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from pycose.keys import EC2Key
from pycose.keys.curves import P256, P384
from pycose.messages import Sign1Message

warnings.simplefilter("ignore")
key = load_pem_x509_certificate(open(sys.argv[1], "rb").read()).public_key()
receipt = open(sys.argv[2], "rb").read()
claims = sys.argv[3] if len(sys.argv) > 3 else bytes(32).hex()

pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
judged = scitt_cose.verify_receipt(receipt, leaf_entry_hex=claims, log_public_key_pem=pem)
assert judged.ok, judged.errors
other = scitt_cose.verify_receipt(receipt, leaf_entry_hex="01" * 32, log_public_key_pem=pem)
assert not other.ok, "other claims"

size = (key.curve.key_size + 7) // 8
point = key.public_numbers()
message = Sign1Message.decode(receipt)
message.key = EC2Key(
    crv={256: P256, 384: P384}[key.curve.key_size],
    x=point.x.to_bytes(size, "big"),
    y=point.y.to_bytes(size, "big"),
)
assert message.verify_signature(detached_payload=bytes.fromhex(judged.root)), "pycose"
print("accepted")
