"""A small web server on aiohttp: WebSocket, server-sent events, large bodies, with TLS or without."""

import asyncio
import hashlib
import ssl
import sys

from aiohttp import ClientSession, WSMsgType, web

PIECE = bytes(range(256)) * 256


async def echo(request):
    socket = web.WebSocketResponse(max_msg_size=4 * 1024 * 1024)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str("echo " + message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def events(request):
    """One event for each request for /next, so that none can be kept back and the test not notice."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    queue = request.app["queue"]
    for number in range(3):
        await queue.get()
        await response.write(f"data: {number}\n\n".encode())
    return response


async def next_event(request):
    await request.app["queue"].put(None)
    return web.Response(text="ok")


async def upload(request):
    digest, length = hashlib.sha256(), 0
    async for piece in request.content.iter_chunked(65536):
        digest.update(piece)
        length += len(piece)
    return web.json_response({"sha256": digest.hexdigest(), "length": length})


def pieces(request):
    """So many MiB, of which no two pieces are alike."""
    for number in range(int(request.match_info["mib"]) * 16):
        yield hashlib.shake_128(str(number).encode()).digest(len(PIECE))


async def download(request):
    length = int(request.match_info["mib"]) * 16 * len(PIECE)
    response = web.StreamResponse(headers={"Content-Length": str(length)})
    await response.prepare(request)
    for piece in pieces(request):
        await response.write(piece)
    return response


async def downloaded(request):
    """What /download gives, as it is here."""
    digest = hashlib.sha256()
    for piece in pieces(request):
        digest.update(piece)
    return web.Response(text=digest.hexdigest())


def serve(host, port, certificate=None, key=None):
    app = web.Application()
    app["queue"] = asyncio.Queue()
    app.add_routes([
        web.get("/ws", echo),
        web.get("/events", events),
        web.post("/next", next_event),
        web.put("/upload", upload),
        web.get("/download/{mib}", download),
        web.get("/downloaded/{mib}", downloaded),
    ])
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    web.run_app(app, host=host, port=port, ssl_context=context, print=None, access_log=None)


async def visit(url, ca_file):
    """A WebSocket client: what it hears goes to standard output."""
    trust = ssl.create_default_context(cafile=ca_file)
    async with ClientSession() as session:
        async with session.ws_connect(url, ssl=trust, max_msg_size=4 * 1024 * 1024) as socket:
            for number in range(3):
                await socket.send_str(f"hello {number}")
                print((await socket.receive()).data)
            large = PIECE * 32
            await socket.send_bytes(large)
            print((await socket.receive()).data == large)
            await socket.close()
            print(socket.close_code)


if sys.argv[1] == "visit":
    asyncio.run(visit(sys.argv[2], sys.argv[3]))
else:
    serve(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
