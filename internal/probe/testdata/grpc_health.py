# grpc.health.v1 on gRPC's C core, as python3-grpcio has it: "" serves, "pay" does not, others are unknown. DIR has key and cert.
import sys, grpc
from concurrent import futures

def fields(b):
    """the strings of a message with length-delimited fields alone, by number"""
    out, i = {}, 0
    while i < len(b):
        n = b[i + 1]
        out[b[i] >> 3] = b[i + 2:i + 2 + n].decode()
        i += 2 + n
    return out

states = {"": 1, "pay": 2}

def check(request, context):
    service = fields(request).get(1, "")
    if service not in states:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return bytes([8, states[service]])

methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)])
assert server.add_insecure_port("127.0.0.1:50051")
with open(sys.argv[1] + "/key", "rb") as k, open(sys.argv[1] + "/cert", "rb") as c:
    credentials = grpc.ssl_server_credentials([(k.read(), c.read())])
assert server.add_secure_port("127.0.0.1:50052", credentials)
server.start()
server.wait_for_termination()
