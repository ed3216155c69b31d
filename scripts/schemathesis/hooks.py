"""What Schemathesis cannot take from the document: a key of its own for each call, and the service's token."""

import os
import re
import uuid

import schemathesis

BARE_KEY = re.compile(r"[!#-~][!-~]{0,254}")
QUOTED_KEY = re.compile(r'"([!#-\[\]-~]|\\["\\]){1,255}"')


@schemathesis.hook
def before_call(context, case, kwargs):
    """The same key on another body is refused with 422, as it should be. A key that is not valid stays as it is."""
    key = (case.headers or {}).get("Idempotency-Key")
    fresh = str(uuid.uuid4())
    if isinstance(key, str) and BARE_KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = fresh + key[len(fresh) :]
    elif isinstance(key, str) and QUOTED_KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f'"{fresh}"'


if os.environ.get("STOCKHOLD_TOKEN"):

    @schemathesis.auth()
    class Token:
        def get(self, case, context):
            return os.environ["STOCKHOLD_TOKEN"]

        def set(self, case, data, context):
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"
