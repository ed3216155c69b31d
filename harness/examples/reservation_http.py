"""The assignment's routes over a Python object; what the wrappers beside this file share. Only the standard library.

A call of a route is one call of the object's method of that name. Nothing is retried, cached or decided here: a method
answers a dictionary, raises `Refused`, or fails, which is a 500. Started as `python WRAPPER.py PORT`.
"""

import json
import sys
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


def integer(body, name):
    value = body.get(name)
    if type(value) is not int or value < 1:
        raise Refused(422, "validation_failed")
    return value


def route(service, method, path, body, key):
    match method, path.strip("/").split("/")[1:]:
        case "POST", ["items"]:
            return 201, service.create_item(str(body.get("name")), integer(body, "initial_quantity"))
        case "GET", ["items", item]:
            return 200, service.get_item(item)
        case "POST", ["reservations"]:
            item, customer = str(body.get("item_id")), str(body.get("customer_id"))
            return 201, service.reserve(item, customer, integer(body, "quantity"), body.get("ttl_seconds", 600), key)
        case "GET", ["reservations", reservation]:
            return 200, service.get_reservation(reservation)
        case "POST", ["reservations", reservation, "confirm"]:
            return 200, service.confirm(reservation)
        case "POST", ["reservations", reservation, "cancel"]:
            return 200, service.cancel(reservation)
        case "POST", ["maintenance", "expire-reservations"]:
            return 200, {"expired_count": service.expire()}
    raise Refused(404, "no_route")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one write
    disable_nagle_algorithm = True

    def do(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
            if type(body) is not dict:
                raise ValueError
        except ValueError:
            return self.answer(422, {"code": "malformed_json"})
        try:
            self.answer(*route(self.server.service, self.command, self.path, body, self.headers.get("Idempotency-Key")))
        except Refused as refused:
            self.answer(refused.status, {"code": refused.code})
        except Exception as error:
            print(f"{self.command} {self.path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self.answer(500, {"code": "internal_error"})
        finally:
            self.server.after()

    do_GET = do_POST = do

    def answer(self, status, body):
        text = json.dumps(body, default=written).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def written(value):
    return value.isoformat() if isinstance(value, datetime) else str(value)


def serve(service, after=lambda: None):
    """`after` is called at the end of each call, in its thread: where a connection goes back to its pool."""
    ThreadingHTTPServer.request_queue_size = 512  # a burst's connections, all at once
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.service, server.after = service, after
    print("listening", flush=True)
    server.serve_forever()
