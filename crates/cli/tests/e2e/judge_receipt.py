"""The PyPI package ccf judges a receipt: judge_receipt.py SERVICE_CERT RECEIPT [CLAIMS_DIGEST_HEX]."""

import hashlib
import json
import sys

import ccf.receipt
from cryptography.x509 import load_pem_x509_certificate

service = load_pem_x509_certificate(open(sys.argv[1], "rb").read())
receipt = open(sys.argv[2], "rb").read()
claims = sys.argv[3] if len(sys.argv) > 3 else None

if receipt[:1] == b"{":
    receipt = json.loads(receipt)
    if "leaf_components" in receipt:
        parts = receipt["leaf_components"]
        evidence = hashlib.sha256(parts["commit_evidence"].encode()).digest()
        carried = parts.get("claims_digest", claims)
        assert claims is None or carried == claims, "other claims"
        leaf = hashlib.sha256(bytes.fromhex(parts["write_set_digest"]) + evidence + bytes.fromhex(carried)).hexdigest()
    else:
        leaf = receipt["leaf"]
    root = ccf.receipt.root(leaf, receipt["proof"])
    node = load_pem_x509_certificate(receipt["cert"].encode())
    ccf.receipt.verify(root, receipt["signature"], node)
    endorsements = [load_pem_x509_certificate(pem.encode()) for pem in receipt.get("service_endorsements", [])]
    ccf.receipt.check_endorsements(node, service, endorsements)
else:
    digest = bytes.fromhex(claims) if claims else bytes(32)
    ccf.receipt.verify_cose(receipt, service.public_key(), digest)
print("accepted")
